//! What may be a part of a sentence. The list is closed: a `String` is not on it, nor are bytes, nor is text that lives shorter
//! than the program.
//!
//! Not here: what may be a part of evidence (`fact`).

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, Utc};
use ids::{
    AccountId, ArtifactId, BackupId, BindingId, CheckpointId, CommandId, DeliveryId, OrgId, RunId, SessionId, SystemId,
    WorkflowId,
};
use uuid::Uuid;

use super::Sentence;
use super::heard::Heard;
use super::name::{Key, Keyed, Name};
use crate::processes::Role;

/// A part of a [`Sentence`].
pub trait Sayable: sealed::Closed {
    /// Adds itself to `text`.
    fn say(&self, text: &mut String);
}

mod sealed {
    /// Nobody else adds to the list.
    pub trait Closed {}
}

macro_rules! sayable {
    ($($part:ty),* $(,)?) => { $(
        impl sealed::Closed for $part {}

        impl Sayable for $part {
            fn say(&self, text: &mut String) {
                // Writing into a string can't fail.
                let _ = write!(text, "{self}");
            }
        }
    )* };
}

sayable! {
    u16, u32, u64, usize, i32, i64, u128,
    DateTime<Utc>, NaiveDate, Uuid,
    AccountId, ArtifactId, BackupId, BindingId, CheckpointId, CommandId, DeliveryId, OrgId, RunId, SessionId, SystemId,
    WorkflowId,
    &'static str, Sentence, Name, Key, Keyed, Heard,
}

impl sealed::Closed for Role {}

impl Sayable for Role {
    fn say(&self, text: &mut String) {
        text.push_str(self.as_str());
    }
}

impl<T: Sayable> sealed::Closed for Option<T> {}

impl<T: Sayable> Sayable for Option<T> {
    fn say(&self, text: &mut String) {
        match self {
            Some(part) => part.say(text),
            None => text.push_str("nothing"),
        }
    }
}

impl<T: Sayable> sealed::Closed for [T] {}

impl<T: Sayable> Sayable for [T] {
    fn say(&self, text: &mut String) {
        for (place, part) in self.iter().enumerate() {
            text.push_str(if place > 0 { ", " } else { "" });
            part.say(text);
        }
    }
}

impl<T: Sayable> sealed::Closed for Vec<T> {}

impl<T: Sayable> Sayable for Vec<T> {
    fn say(&self, text: &mut String) {
        self.as_slice().say(text);
    }
}

/// Whatever a row may hold is not on the list: were it, the trait's method would have two candidates below, and this
/// would not compile.
macro_rules! never_said {
    ($($foreign:ty),* $(,)?) => { $(
        const _: fn() = || {
            trait Refused<Reason> {
                fn refused() {}
            }
            struct Said;
            impl<T: ?Sized> Refused<()> for T {}
            impl<T: ?Sized + Sayable> Refused<Said> for T {}
            let _ = <$foreign as Refused<_>>::refused;
        };
    )* };
}

never_said!(String, str, &String, std::borrow::Cow<'static, str>, Box<str>, char, serde_json::Value, Vec<u8>);
never_said!(anyhow::Error, client::Error, std::io::Error, std::path::PathBuf, secrecy::SecretString);

impl<T: Sayable> sealed::Closed for &T {}

impl<T: Sayable> Sayable for &T {
    fn say(&self, text: &mut String) {
        (**self).say(text);
    }
}
