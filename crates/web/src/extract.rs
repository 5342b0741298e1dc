//! Axum's extractors with one difference: what they refuse becomes a problem. And answers in JSON.

use std::cell::RefCell;

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::Problem;

/// A JSON body. Request types say `#[serde(deny_unknown_fields)]`: a misspelt field is an error, not silence.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(crate) struct Json<T>(pub(crate) T);

#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub(crate) T);

#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub(crate) T);

/// What a thread keeps for writing answers, at most. A longer one has memory of its own.
const KEPT: usize = 256 << 10;

thread_local! {
    /// Where a thread writes its answers before it knows how long they are: a page grew through eight allocations otherwise.
    static DRAFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// In memory of just its size.
fn write(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    DRAFT.with_borrow_mut(|draft| {
        // Also what an answer left that was given up in mid-sentence.
        draft.clear();
        let written = serde_json::to_writer(&mut *draft, value).map(|()| Bytes::copy_from_slice(draft));
        draft.clear();
        draft.shrink_to(KEPT);
        written
    })
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match write(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::unsupported_media_type(),
            _ => Self::invalid(rejection.body_text()),
        }
    }
}

impl From<PathRejection> for Problem {
    /// An id that can't be one names nothing.
    fn from(_: PathRejection) -> Self {
        Self::not_found("page")
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use serde::Serializer;
    use serde::ser::{Error as _, SerializeSeq as _};

    use super::*;

    enum Ends {
        Failing,
        Panicking,
    }

    impl Serialize for Ends {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_seq(None)?.serialize_element("somebody else's")?;
            match self {
                Self::Failing => Err(S::Error::custom("it can't be written")),
                Self::Panicking => panic!("in mid-sentence"),
            }
        }
    }

    #[test]
    fn nothing_of_an_answer_that_was_given_up_is_in_the_next_one() {
        assert!(write(&Ends::Failing).is_err());
        assert_eq!(write(&1).unwrap(), "1");
        assert!(catch_unwind(|| write(&Ends::Panicking)).is_err());
        assert_eq!(write(&[2]).unwrap(), "[2]");
        assert_eq!(Json(Ends::Failing).into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn a_long_answer_is_whole_and_its_memory_is_given_back() {
        let long = "x".repeat(3 * KEPT);
        assert_eq!(write(&long).unwrap(), format!("\"{long}\""));
        assert!(DRAFT.with_borrow(Vec::capacity) <= KEPT);
        assert_eq!(write(&"").unwrap(), "\"\"");
    }
}
