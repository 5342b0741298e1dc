//! One page of a list.

use serde::Deserialize;

/// Items, and where the next page begins.
#[derive(Debug, Clone, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it back as `cursor`; `None`: this was the last page.
    pub next_cursor: Option<String>,
}
