//! Pages of a list: keyset, so that a page costs the same however deep it is.
//!
//! A handler takes `Query<Paging<SessionId>>`, asks the store for `paging.limit()` rows after `paging.cursor`, and
//! answers `Page::of(rows, paging.limit(), |row| row.session_id)`. A resource with filters of its own takes a second `Query`.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

const LIMIT_DEFAULT: i64 = 50;
pub(crate) const LIMIT_MAX: i64 = 200;

/// Where a page begins, and how long it is: `?cursor=&limit=`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Paging<C> {
    pub(crate) cursor: Option<C>,
    limit: Option<i64>,
}

/// By hand, since a cursor is of the kind that the list's rows are found by.
impl<C: PartialSchema> IntoParams for Paging<C> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = format!(
            "Rows of a page, at most. {LIMIT_DEFAULT} if it is not given; what is not 1 to {LIMIT_MAX} is brought to the \
             nearest bound."
        );
        let query = |name: &str, description: &str, schema: RefOr<Schema>| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.required(Required::False).description(Some(description)).schema(Some(schema)).build()
        };
        vec![query("cursor", "`next_cursor` of the page before.", C::schema()), query("limit", &limit, i64::schema())]
    }
}

impl<C> Paging<C> {
    /// Rows of this page, 1 to 200.
    pub(crate) fn limit(&self) -> i64 {
        self.limit_within(LIMIT_MAX)
    }

    /// Rows of this page, 1 to `max`, for lists whose rows are many and small.
    pub(crate) fn limit_within(&self, max: i64) -> i64 {
        self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, max)
    }
}

/// The answer to a list. `next_cursor` is absent on the last page; a page that is just full may be followed by an
/// empty one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The `cursor` of the next page. `null`: this was the last one.
    pub(crate) next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn of<K: Display>(items: Vec<T>, limit: i64, key: impl Fn(&T) -> K) -> Self {
        let full = i64::try_from(items.len()).is_ok_and(|count| count >= limit);
        let next_cursor = items.last().filter(|_| full).map(|last| key(last).to_string());
        Self { items, next_cursor }
    }

    pub(crate) fn map<U>(self, view: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(view).collect(), next_cursor: self.next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_names_its_last_row_and_a_short_one_ends_the_list() {
        assert_eq!(Page::of(vec![1, 2], 2, |n| *n).next_cursor.as_deref(), Some("2"));
        assert_eq!(Page::of(vec![1], 2, |n| *n).next_cursor, None);
        assert_eq!(Page::of(Vec::<i32>::new(), 2, |n| *n).next_cursor, None);
    }

    #[test]
    fn a_limit_is_kept_within_bounds() {
        let paging = |limit| Paging::<i64> { cursor: None, limit };
        assert_eq!(paging(None).limit(), LIMIT_DEFAULT);
        assert_eq!(paging(Some(0)).limit(), 1);
        assert_eq!(paging(Some(5_000)).limit(), LIMIT_MAX);
        assert_eq!(paging(Some(5_000)).limit_within(1_000), 1_000);
    }
}
