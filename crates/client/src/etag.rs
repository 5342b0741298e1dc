//! States of things that several may edit: read one, change it, and learn of it if somebody was faster.

use std::ops::Deref;

use reqwest::RequestBuilder;
use reqwest::header::{ETAG, IF_MATCH};
use serde::de::DeserializeOwned;

use crate::{CALL_TIMEOUT, Error, accepted, unexpected};

/// Names a state. Only the server that gave it out knows what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

/// Something with the state that it was in.
#[derive(Debug, Clone)]
pub struct Tagged<T> {
    pub value: T,
    pub tag: ETag,
}

impl<T> Deref for Tagged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The request, for this state only.
pub(crate) fn made_for(request: RequestBuilder, seen: Option<&ETag>) -> RequestBuilder {
    match seen {
        Some(ETag(tag)) => request.header(IF_MATCH, tag),
        None => request,
    }
}

pub(crate) async fn tagged<T: DeserializeOwned>(request: RequestBuilder) -> Result<Tagged<T>, Error> {
    let response = accepted(request.timeout(CALL_TIMEOUT)).await?;
    let status = response.status().as_u16();
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(|tag| ETag(tag.to_owned()));
    let body = response.bytes().await?;
    let value = serde_json::from_slice(&body).ok();
    let (value, tag) = value.zip(tag).ok_or_else(|| unexpected(status, &body))?;
    Ok(Tagged { value, tag })
}
