//! Going through a session's events from the first, and seeing that none is missing.
//!
//! Not here: what an event does to a projection (`projection`), reading events (`store::event`).

use crate::event::{Event, Recorded};
use crate::projection::Projection;

/// Why events are not all that there were: to go on from them would hide it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    #[error("its first event has sequence {0}, and is no base")]
    Beginning(i64),
    #[error("event {after} is followed by event {found}")]
    Hole { after: i64, found: i64 },
    #[error("event {0} is a base, and is not the first")]
    LateBase(i64),
    #[error("its last event is {found}, and should be {last}")]
    End { found: i64, last: i64 },
}

/// What the events so far add up to. Before the first: nothing, at sequence 0.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    pub projection: Projection,
    /// Of the newest event that is folded in.
    pub sequence: i64,
}

impl Fold {
    /// Takes the next event.
    ///
    /// # Errors
    /// If it can't be the next one.
    pub fn take(&mut self, recorded: &Recorded) -> Result<(), Damaged> {
        let (found, based) = (recorded.sequence, matches!(recorded.event, Event::Compacted { .. }));
        match self.sequence {
            0 if found != 1 && !based => return Err(Damaged::Beginning(found)),
            0 => {}
            _ if based => return Err(Damaged::LateBase(found)),
            after if found != after + 1 => return Err(Damaged::Hole { after, found }),
            _ => {}
        }
        self.projection.apply(&recorded.event);
        self.sequence = found;
        Ok(())
    }

    /// What they add up to, if the session's last event is among them.
    ///
    /// # Errors
    /// If it is not.
    pub fn up_to(self, last: i64) -> Result<Projection, Damaged> {
        if self.sequence == last { Ok(self.projection) } else { Err(Damaged::End { found: self.sequence, last }) }
    }
}
