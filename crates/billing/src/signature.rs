//! The header `Stripe-Signature`: `t=SECONDS,v1=HEX`, where the hex is HMAC-SHA256 over `SECONDS.BODY` under the endpoint's secret.
//!
//! While a secret is rotated there is more than one `v1`, and any may be right. Schemes other than `v1` count for nothing.
//!
//! Not here: what the body says (`stripe`).

use clock::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::NoticeError;

/// How far the time of a signature may be from ours: what was overheard can't be used again later. Repeats by the provider are
/// signed anew.
const TOLERANCE_S: i64 = 300;
/// Bytes of a header, and signatures in it, that are looked at.
const HEADER_MAX: usize = 2_048;
const SIGNATURES_MAX: usize = 8;

pub(crate) fn check(
    header: Option<&str>,
    body: &[u8],
    secret: &SecretString,
    now: Timestamp,
) -> Result<(), NoticeError> {
    let header = header.filter(|header| header.len() <= HEADER_MAX).ok_or(NoticeError::NotSigned)?;
    let fields = || header.split(',').filter_map(|field| field.trim().split_once('='));
    let at = fields().find(|(name, _)| *name == "t").ok_or(NoticeError::NotSigned)?.1;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    let signatures = fields().filter(|(name, _)| *name == "v1").take(SIGNATURES_MAX);
    let mut signatures = signatures.filter_map(|(_, signature)| hex::decode(signature).ok());
    if !signatures.any(|signature| mac.clone().verify_slice(&signature).is_ok()) {
        return Err(NoticeError::NotSigned);
    }
    // Only now: what is not signed is told nothing of our clock.
    let at: i64 = at.parse().map_err(|_| NoticeError::NotSigned)?;
    let apart = now.timestamp().checked_sub(at).and_then(i64::checked_abs);
    if apart.is_some_and(|apart| apart <= TOLERANCE_S) { Ok(()) } else { Err(NoticeError::Stale) }
}

#[cfg(test)]
pub(crate) fn sign(body: &[u8], secret: &SecretString, at: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).unwrap();
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_signature_is_right_for_its_body_its_secret_and_its_time_only() {
        let new = || SecretString::from(hex::encode(clock::Sources::system().bytes::<24>()));
        let (secret, other) = (new(), new());
        let header = sign(b"{}", &secret, 1_000);
        let check = |header: &str, body: &[u8], secret, now| check(Some(header), body, secret, at(now));
        assert_eq!(check(&header, b"{}", &secret, 1_300), Ok(()));
        assert_eq!(check(&header, b"{}", &secret, 1_301), Err(NoticeError::Stale));
        assert_eq!(check(&header, b"{}", &secret, 699), Err(NoticeError::Stale));
        assert_eq!(check(&header, b"{ }", &secret, 1_000), Err(NoticeError::NotSigned));
        assert_eq!(check(&header, b"{}", &other, 1_000), Err(NoticeError::NotSigned));
        assert_eq!(check(&header.replace("t=1000", "t=1001"), b"{}", &secret, 1_000), Err(NoticeError::NotSigned));
        assert_eq!(check(&header.replace("v1=", "v0="), b"{}", &secret, 1_000), Err(NoticeError::NotSigned));
        assert_eq!(check("", b"{}", &secret, 1_000), Err(NoticeError::NotSigned));
        // While the secret is rotated.
        let wrong = sign(b"{}", &other, 1_000);
        let both = format!("{wrong},{}", header.split_once(',').unwrap().1);
        assert_eq!(check(&both, b"{}", &secret, 1_000), Ok(()));
    }
}
