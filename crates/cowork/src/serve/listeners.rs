//! The roles' listeners, all bound before anything is served: a taken port is told before anything happened.

use std::net::SocketAddr;

use config::Config;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::serve::roles::Role;

#[derive(Debug)]
pub(crate) struct Listeners(Vec<(Role, TcpListener, SocketAddr)>);

impl Listeners {
    pub(crate) async fn bind(roles: &[Role], config: &Config) -> Result<Self, Failure> {
        let mut listeners = Vec::with_capacity(roles.len());
        for role in roles {
            let wanted = role.address(config);
            let bound = async {
                let listener = TcpListener::bind(wanted).await?;
                let address = listener.local_addr()?;
                Ok((*role, listener, address))
            };
            listeners.push(bound.await.map_err(|error: std::io::Error| taken(*role, wanted, error))?);
        }
        Ok(Self(listeners))
    }

    /// Where each role is reached; the port is the real one, also where any was asked for.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.0.iter().map(|(role, _, address)| (role.as_str(), *address))
    }
}

impl IntoIterator for Listeners {
    type Item = (Role, TcpListener);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(role, listener, _)| (role, listener)).collect::<Vec<_>>().into_iter()
    }
}

fn taken(role: Role, address: SocketAddr, error: std::io::Error) -> Failure {
    Failure::could_not(
        format!("The {role} role can't listen on {address}."),
        error,
        format!("Stop what listens there, or set {role}.listen to another address; port 0 takes any free port."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_told_with_its_role_and_address() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::default();
        config.web.listen = taken.local_addr().unwrap();
        let failure = Listeners::bind(&[Role::Web], &config).await.unwrap_err();
        let text = failure.render(false);
        assert!(text.contains(&format!("The web role can't listen on {}.", config.web.listen)), "{text}");
        assert!(text.contains("web.listen"), "{text}");
    }
}
