//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, 8.8.3 and 13.1).
//!
//! The tag of something that people edit names the state of its row and the generation of the system: a restore winds
//! versions back, and what an editor saw in the lost system must not pass for a state of this one. Such a tag is strong, so only
//! representations that depend on nothing but the row's version have one; a session's view, which changes with every event,
//! has none.
//!
//! Not here: comparing with the row, which its transaction does (`domain::version`).

use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use domain::version::{Expected, RowVersion};
use serde::Serialize;

use crate::app::App;
use crate::extract::Json;
use crate::problem::Problem;

/// Tags that a header may list. No client has seen more states of one thing.
const LISTED_MAX: usize = 20;

/// What a header lists.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listed {
    /// `*`
    Any,
    Tags(Vec<EntityTag>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EntityTag {
    weak: bool,
    /// With its quotes.
    opaque: String,
}

/// The tag of a row's state.
pub(crate) fn of(app: &App, version: RowVersion) -> HeaderValue {
    let RowVersion { since, version } = version;
    let text = format!("\"{}-{}-{version}\"", app.generation.generation, since.timestamp_micros());
    HeaderValue::from_str(&text).expect("digits and hyphens are a header's value")
}

/// An answer that depends on the row's version and on nothing else, with its tag.
pub(crate) fn tagged<T: Serialize>(app: &App, version: RowVersion, view: T) -> Response {
    ([(ETAG, of(app, version))], Json(view)).into_response()
}

/// As [`tagged`], or 304 if the reader has it.
pub(crate) fn tagged_unless_known<T: Serialize>(
    app: &App,
    version: RowVersion,
    request: &HeaderMap,
    view: T,
) -> Result<Response, Problem> {
    let tag = of(app, version);
    if is_known(request, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(tagged(app, version, view))
}

/// Whether `If-None-Match` of a read names `tag`. Weak and strong ones are alike here.
pub(crate) fn is_known(request: &HeaderMap, tag: &HeaderValue) -> Result<bool, Problem> {
    Ok(match listed(request, &IF_NONE_MATCH)? {
        None => false,
        Some(Listed::Any) => true,
        Some(Listed::Tags(tags)) => tags.iter().any(|known| known.opaque.as_bytes() == tag.as_bytes()),
    })
}

/// Whether a read may happen: `If-Match`, if it is there, names `tag`, which is strong.
pub(crate) fn may_read(request: &HeaderMap, tag: &HeaderValue) -> Result<bool, Problem> {
    Ok(match listed(request, &IF_MATCH)? {
        None | Some(Listed::Any) => true,
        Some(Listed::Tags(tags)) => tags.iter().any(|seen| !seen.weak && seen.opaque.as_bytes() == tag.as_bytes()),
    })
}

/// What must be there for a change to happen. Without a header: anything.
pub(crate) fn expected(app: &App, request: &HeaderMap) -> Result<Expected, Problem> {
    match (listed(request, &IF_MATCH)?, listed(request, &IF_NONE_MATCH)?) {
        (None, None) => Ok(Expected::Anything),
        (Some(Listed::Any), None) => Ok(Expected::Something),
        (Some(Listed::Tags(tags)), None) => {
            // A weak tag never matches here, and one of another generation or form is of no state of this system.
            let strong = tags.iter().filter(|tag| !tag.weak);
            Ok(Expected::OneOf(strong.filter_map(|tag| version(app, &tag.opaque)).collect()))
        }
        (None, Some(Listed::Any)) => Ok(Expected::Nothing),
        (_, Some(_)) => Err(Problem::invalid("a change takes If-Match, or If-None-Match: * to make something new")),
    }
}

fn version(app: &App, opaque: &str) -> Option<RowVersion> {
    let mut parts = opaque.strip_prefix('"')?.strip_suffix('"')?.split('-').map(str::parse::<i64>);
    let (generation, since, version) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let since = DateTime::from_timestamp_micros(since)?;
    (generation == app.generation.generation && parts.next().is_none()).then_some(RowVersion { since, version })
}

/// `None`: the request has no such header.
fn listed(request: &HeaderMap, name: &HeaderName) -> Result<Option<Listed>, Problem> {
    let mut values = request.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let invalid = || Problem::invalid(format!("{name} holds * or 1 to {LISTED_MAX} ETags such as \"1-2-3\""));
    let mut tags = Vec::new();
    for value in values {
        let text = value.to_str().map_err(|_| invalid())?.trim();
        if text == "*" {
            return Ok(Some(Listed::Any));
        }
        tags.extend(entity_tags(text).ok_or_else(invalid)?);
    }
    if (1..=LISTED_MAX).contains(&tags.len()) { Ok(Some(Listed::Tags(tags))) } else { Err(invalid()) }
}

/// Quoted, so a comma in one does not end it. `None`: it is no list of tags.
fn entity_tags(mut text: &str) -> Option<Vec<EntityTag>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Some(tags);
        }
        let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
        let end = quoted.strip_prefix('"')?.find('"')? + 2;
        tags.push(EntityTag { weak, opaque: quoted[..end].to_owned() });
        text = &quoted[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn strong(opaque: &str) -> EntityTag {
        EntityTag { weak: false, opaque: opaque.into() }
    }

    #[test]
    fn a_list_of_tags_is_read_as_it_is_quoted() {
        let weak = EntityTag { weak: true, ..strong("\"b\"") };
        assert_eq!(entity_tags("\"a,1\", W/\"b\" ,\"\""), Some(vec![strong("\"a,1\""), weak, strong("\"\"")]));
        for text in ["a", "\"a", "W/a", "\"a\" b", "w/\"a\""] {
            assert_eq!(entity_tags(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_tag_names_a_state_of_this_generation_and_of_no_other() {
        let mut world = World::new().await;
        let seen = RowVersion { since: world.app.store.sources().now(), version: 7 };
        let tag = of(&world.app, seen);
        let request = |name, value: &[u8]| HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).unwrap())]);
        let expects = |app: &App, name, value: &[u8]| expected(app, &request(name, value)).unwrap();
        assert_eq!(expects(&world.app, IF_MATCH, tag.as_bytes()), Expected::OneOf(vec![seen]));
        let weak = [b"W/", tag.as_bytes()].concat();
        assert_eq!(expects(&world.app, IF_MATCH, &weak), Expected::OneOf(vec![]));
        assert!(is_known(&request(IF_NONE_MATCH, &weak), &tag).unwrap());
        assert_eq!(expects(&world.app, IF_MATCH, b"\"of somebody else\""), Expected::OneOf(vec![]));
        assert_eq!(expects(&world.app, IF_MATCH, b"*"), Expected::Something);
        assert_eq!(expects(&world.app, IF_NONE_MATCH, b"*"), Expected::Nothing);
        assert!(expected(&world.app, &request(IF_NONE_MATCH, tag.as_bytes())).is_err());
        world.app.parts_mut().generation.generation += 1;
        assert_eq!(expects(&world.app, IF_MATCH, tag.as_bytes()), Expected::OneOf(vec![]));
    }
}
