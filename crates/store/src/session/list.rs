//! Pages of an org's sessions. Those that are asked for at once share a statement.
//!
//! Not here: pages of those that match (`search`).

use ids::{CheckpointId, OrgId, SessionId};
use uuid::Uuid;

use super::{Session, session_of};
use crate::batcher::{Answered, Ask, Locked};
use crate::{Store, StoreError};

/// What a session takes in a page, about.
const BYTES: usize = 512;
/// Sessions of a page, at most.
const LIMIT_MAX: u8 = 200;

/// Asks for a page.
#[derive(Debug)]
pub(crate) struct List {
    after: SessionId,
    limit: u8,
}

impl List {
    /// `limit` is brought to 1 to 200.
    pub(super) fn page(after: Option<SessionId>, limit: i64) -> Self {
        let limit = u8::try_from(limit.max(1)).unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
        Self { after: after.unwrap_or(Uuid::nil().into()), limit }
    }
}

impl Ask for List {
    type Done = Vec<Session>;

    const STATEMENT: &'static str = "sessions_list";
    /// Pages are long: while one is read here, the server makes another (measured: a tenth more lists a second than with one).
    const UNDER_WAY: usize = 2;

    fn bytes(&self) -> usize {
        usize::from(self.limit) * BYTES
    }

    async fn carry_out(
        store: &Store,
        org: OrgId,
        asked: &[Self],
        _locked: Locked,
    ) -> Result<Vec<Answered<Self::Done>>, sqlx::Error> {
        let rows = sqlx::query_file!(
            "src/session/list.sql",
            org as OrgId,
            &asked.iter().map(|list| list.after.into()).collect::<Vec<Uuid>>(),
            &asked.iter().map(|list| list.limit.into()).collect::<Vec<i64>>(),
        )
        .fetch_all(store.of(org))
        .await?;
        let mut pages: Vec<Vec<Session>> = asked.iter().map(|list| Vec::with_capacity(list.limit.into())).collect();
        for row in rows {
            let page = usize::try_from(row.place - 1).ok().and_then(|place| pages.get_mut(place));
            page.expect("the statement names the places that it was given").push(session_of!(row));
        }
        // The statement promises no order of its rows, though it reads them in this one.
        for page in &mut pages {
            page.sort_unstable_by_key(|session| session.session_id);
        }
        Ok(pages.into_iter().map(Answered::Done).collect())
    }
}

impl Store {
    /// An org's sessions past `after`, oldest first, 1 to 200 of them.
    pub async fn sessions_list(
        &self,
        org: OrgId,
        after: Option<SessionId>,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        self.lists.ask(self, org, List::page(after, limit)).await
    }
}
