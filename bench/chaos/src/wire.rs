//! A wire that can be cut: connections to one address are carried to whoever stands behind it just now.
//!
//! Whoever uses it keeps one address while processes behind it come and go. A wire is cut (its connections break off, new ones
//! are taken) or stalled (bytes wait, connections stay). With nobody behind it, a connection is taken and ends at once.
//!
//! Not guaranteed: that what was under way when a wire was cut arrived, or did not. That is what it is there for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Sources;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Bytes that are carried at a time.
const PIECE: usize = 16 * 1024;
/// How long a connection to whoever stands behind may take. A stopped process still takes them.
const REACH: Duration = Duration::from_secs(1);

/// The far end of a wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

/// How many of a wire's connections are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    /// Each with even odds.
    Half,
}

/// Cheap to clone. Lives as long as the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    places: Mutex<BTreeMap<String, End>>,
    next: AtomicUsize,
    connections: Mutex<BTreeMap<usize, CancellationToken>>,
    stalled: watch::Sender<bool>,
}

impl Wire {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Shared {
            places: Mutex::default(),
            next: AtomicUsize::default(),
            connections: Mutex::default(),
            stalled: watch::Sender::new(false),
        };
        let wire = Self { address: listener.local_addr()?, shared: Arc::new(shared) };
        tokio::spawn(wire.clone().take(listener));
        Ok(wire)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on connections go to `place`, too.
    pub(crate) fn put(&self, name: &str, place: End) {
        held(&self.shared.places).insert(name.to_owned(), place);
    }

    pub(crate) fn take_away(&self, name: &str) {
        held(&self.shared.places).remove(name);
    }

    /// Breaks connections off; how many.
    pub(crate) fn cut(&self, share: Share, dice: &Sources) -> usize {
        let mut connections = held(&self.shared.connections);
        let hit: Vec<usize> =
            connections.keys().copied().filter(|_| share == Share::All || dice.below(2) == 0).collect();
        hit.iter().filter_map(|number| connections.remove(number)).for_each(|connection| connection.cancel());
        hit.len()
    }

    /// Bytes wait from now on, or go on.
    pub(crate) fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    async fn take(self, listener: TcpListener) {
        loop {
            // A connection that broke off before it was taken is nobody's.
            if let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(self.clone().carry(stream));
            }
        }
    }

    async fn carry(self, near: TcpStream) {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let cut = CancellationToken::new();
        held(&self.shared.connections).insert(number, cut.clone());
        let _ = cut.run_until_cancelled(self.connect(number, near)).await;
        held(&self.shared.connections).remove(&number);
    }

    /// To each of those behind in turn; if one can't be reached, to the one after it.
    async fn connect(&self, number: usize, near: TcpStream) -> std::io::Result<()> {
        let places: Vec<End> = held(&self.shared.places).values().cloned().collect();
        for turn in 0..places.len() {
            match &places[(number + turn) % places.len()] {
                End::Tcp(address) => {
                    if let Ok(Ok(far)) = tokio::time::timeout(REACH, TcpStream::connect(address)).await {
                        far.set_nodelay(true)?;
                        return self.both(near, far).await;
                    }
                }
                End::Socket(path) => {
                    if let Ok(far) = UnixStream::connect(path).await {
                        return self.both(near, far).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn both(
        &self,
        near: impl AsyncRead + AsyncWrite + Unpin,
        far: impl AsyncRead + AsyncWrite + Unpin,
    ) -> std::io::Result<()> {
        let ((near_read, near_write), (far_read, far_write)) = (tokio::io::split(near), tokio::io::split(far));
        tokio::try_join!(self.one_way(near_read, far_write), self.one_way(far_read, near_write)).map(drop)
    }

    async fn one_way(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut stalled = self.shared.stalled.subscribe();
        let mut piece = vec![0; PIECE];
        loop {
            let read = from.read(&mut piece).await?;
            // The sender is held by `self`, so it does not go away.
            let _ = stalled.wait_for(|stalled| !stalled).await;
            if read == 0 {
                return to.shutdown().await;
            }
            to.write_all(&piece[..read]).await?;
        }
    }
}

/// Nothing is left half done under these locks.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who says every byte back.
    async fn echo() -> End {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = End::Tcp(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        place
    }

    async fn said_back(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
        stream.write_all(&[byte]).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_what_comes_after_it_is_carried() {
        let wire = Wire::start().await.unwrap();
        wire.put("echo", echo().await);
        let mut first = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(said_back(&mut first, 1).await.unwrap(), 1);
        assert_eq!(wire.cut(Share::All, &testkit::sources(1).1), 1);
        assert!(first.read_u8().await.is_err());
        let mut second = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(said_back(&mut second, 2).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_is_stalled_arrives_when_the_wire_goes_on() {
        let wire = Wire::start().await.unwrap();
        wire.put("echo", echo().await);
        let mut stream = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(said_back(&mut stream, 1).await.unwrap(), 1);
        wire.stall(true);
        stream.write_all(&[2]).await.unwrap();
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        wire.stall(false);
        assert_eq!(stream.read_u8().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn with_nobody_behind_it_a_connection_ends_at_once() {
        let wire = Wire::start().await.unwrap();
        wire.put("gone", End::Socket("/nowhere/socket".into()));
        wire.take_away("gone");
        let mut stream = TcpStream::connect(wire.address()).await.unwrap();
        assert!(stream.read_u8().await.is_err());
    }
}
