//! Schedules: when a trigger falls due, and what to do about the slots that passed while nobody looked.
//!
//! A slot is (workflow, due time). [`Schedule::next_after`] names the slots of one trigger; [`settle`] decides for
//! every slot that is due whether it fires. Both are functions of their arguments.
//!
//! Daylight saving, for cron expressions in a time zone:
//!
//! - an expression with one hour and one minute (`30 2 * * *`) runs once a day. In the night when the clock jumps over
//!   its time, it runs at the first instant after the gap; in the night when its time comes twice, at the earlier one.
//! - any other (`*/15 * * * *`, `30 1-3 * * *`) follows the clock on the wall: times inside the gap don't come, times
//!   that come twice run twice, an hour apart. So an hourly one runs every hour of real time.
//!
//! Intervals count real time and know no time zone.
//!
//! Not here: claiming a trigger so that two schedulers don't both act on it (`store::trigger`); the unique key that
//! makes a second run for a slot impossible (the table `slots`).

use std::fmt;

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use clock::Timestamp;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

mod settle;

pub use self::settle::{Due, GRACE, MAX_FIRED, MAX_SKIPPED, Settled, Settlement, SkipReason, SlotDecision, settle};

/// The most triggers that one workflow may have.
pub const MAX_TRIGGERS: usize = 20;

/// The longest interval, in seconds: 366 days.
pub const MAX_EVERY_S: i64 = 366 * 86_400;

/// The longest window that `run_once` and `run_all` may look back, in seconds: 31 days.
pub const MAX_MISSED_WINDOW_S: i64 = 31 * 86_400;

/// The longest cron expression, in characters.
pub const MAX_EXPRESSION: usize = 200;

/// What starts a workflow, as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TriggerSpec {
    /// Five fields (minute, hour, day of month, month, day of week) or a nickname such as `@daily`.
    Cron {
        #[cfg_attr(feature = "openapi", schema(max_length = 200, example = "0 9 * * 1-5"))]
        expression: String,
        /// As in the IANA data base.
        #[cfg_attr(feature = "openapi", schema(example = "Europe/Berlin"))]
        time_zone: String,
    },
    /// At `anchor_at` and every `every_s` seconds before and after it. Without an anchor, it is when the trigger was made.
    Interval {
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 31_622_400))]
        every_s: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
        anchor_at: Option<Timestamp>,
    },
    Once {
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
        at: Timestamp,
    },
    /// By signed calls from outside. It has no slots of its own: each call settles one, when it comes.
    Webhook {},
}

impl TriggerSpec {
    /// The value of the `kind` column.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cron { .. } => "cron",
            Self::Interval { .. } => "interval",
            Self::Once { .. } => "once",
            Self::Webhook {} => "webhook",
        }
    }

    /// All but the kind, as an object: the `spec` of SQL and of the API.
    #[must_use]
    pub fn fields(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).expect("a trigger is plain data");
        json.as_object_mut().expect("a trigger is an object").remove("kind");
        json
    }

    /// The trigger that has this kind and these [`Self::fields`].
    ///
    /// # Errors
    /// If there is none.
    pub fn from_fields(kind: String, mut fields: serde_json::Value) -> Result<Self, serde_json::Error> {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("kind".to_owned(), kind.into());
        }
        serde_json::from_value(fields)
    }

    /// The same, with what was left open settled by the time it was made at.
    #[must_use]
    pub fn anchored(self, made_at: Timestamp) -> Self {
        match self {
            Self::Interval { every_s, anchor_at: None } => Self::Interval { every_s, anchor_at: Some(made_at) },
            other => other,
        }
    }
}

/// What to do with the slots that were missed: those that fell due before this generation of the system began, while
/// the workflow was paused, or longer ago than [`GRACE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MissedPolicy {
    Skip,
    /// The newest one within the window fires.
    RunOnce,
    /// All within the window fire.
    RunAll,
}

/// What to do with a slot that falls due while an earlier run of its workflow is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OverlapPolicy {
    Allow,
    Skip,
}

/// Whether a workflow's triggers start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkflowState {
    Active,
    /// Its slots pass; when it is resumed, the missed policy decides about them.
    Paused,
    /// For ever.
    Archived,
}

impl WorkflowState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Archived => "archived",
        }
    }
}

impl MissedPolicy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::RunOnce => "run_once",
            Self::RunAll => "run_all",
        }
    }
}

impl OverlapPolicy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
        }
    }
}

/// Why a trigger can't be used. The sentence is for whoever wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("the cron expression {expression:?} can't be read")]
    Expression {
        expression: String,
        #[source]
        source: CronError,
    },
    #[error("the cron expression has {length} characters; at most {MAX_EXPRESSION} are allowed")]
    ExpressionTooLong { length: usize },
    #[error("the cron expression {expression:?} names no time that ever comes")]
    Never { expression: String },
    #[error("the time zone {time_zone:?} is unknown; use a name such as Europe/Berlin or UTC")]
    TimeZone { time_zone: String },
    #[error("an interval of {every_s} s is not between 1 and {MAX_EVERY_S} s")]
    Interval { every_s: i64 },
    #[error("the instant {at} is not between the years 1970 and 9999")]
    Instant { at: Timestamp },
    #[error("the one time {at} has passed")]
    Past { at: Timestamp },
}

/// A trigger that was checked: it can say when its slots are.
#[derive(Debug, Clone)]
pub struct Schedule(Kind);

#[derive(Clone)]
enum Kind {
    Cron { cron: Box<Cron>, time_zone: Tz },
    Interval { every: TimeDelta, anchor_at: Timestamp },
    Once { at: Timestamp },
    Never,
}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { cron, time_zone } => write!(out, "Cron({} {time_zone})", cron.as_str()),
            Self::Interval { every, anchor_at } => write!(out, "Interval({every} from {anchor_at})"),
            Self::Once { at } => write!(out, "Once({at})"),
            Self::Never => out.write_str("Never"),
        }
    }
}

impl Schedule {
    /// Checks `spec`, which was made at `made_at`.
    ///
    /// # Errors
    /// If it names no slots, or is out of bounds.
    pub fn new(spec: &TriggerSpec, made_at: Timestamp) -> Result<Self, ScheduleError> {
        match spec {
            TriggerSpec::Cron { expression, time_zone } => cron(expression, time_zone, made_at),
            TriggerSpec::Interval { every_s, anchor_at } => interval(*every_s, anchor_at.unwrap_or(made_at)),
            TriggerSpec::Once { at } => Ok(Kind::Once { at: instant(*at)? }),
            TriggerSpec::Webhook {} => Ok(Kind::Never),
        }
        .map(Self)
    }

    /// The first slot later than `instant`; `None` if none comes any more.
    #[must_use]
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Kind::Cron { cron, time_zone } => next_of_cron(cron, *time_zone, instant),
            Kind::Interval { every, anchor_at } => next_of_interval(*every, *anchor_at, instant),
            Kind::Once { at } => Some(*at).filter(|at| *at > instant),
            Kind::Never => None,
        }
    }

    /// The first slot of a trigger made at `made_at`. A one-time trigger's is its time, even if it just passed.
    #[must_use]
    pub fn first(&self, made_at: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Kind::Once { at } => Some(*at),
            Kind::Cron { .. } | Kind::Interval { .. } | Kind::Never => self.next_after(made_at),
        }
    }
}

/// A trigger that was checked, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTrigger {
    /// With an anchor, if it is an interval.
    pub spec: TriggerSpec,
    pub first_due_at: Option<Timestamp>,
}

impl NewTrigger {
    /// Checks `spec`. A one-time trigger may be late by [`GRACE`]: "now" is past when it arrives.
    ///
    /// # Errors
    /// As [`Schedule::new`], and if its one time has passed.
    pub fn new(spec: TriggerSpec, made_at: Timestamp) -> Result<Self, ScheduleError> {
        let schedule = Schedule::new(&spec, made_at)?;
        if let TriggerSpec::Once { at } = spec
            && made_at - at > GRACE
        {
            return Err(ScheduleError::Past { at });
        }
        Ok(Self { first_due_at: schedule.first(made_at), spec: spec.anchored(made_at) })
    }
}

fn cron(expression: &str, time_zone: &str, made_at: Timestamp) -> Result<Kind, ScheduleError> {
    let length = expression.chars().count();
    if length > MAX_EXPRESSION {
        return Err(ScheduleError::ExpressionTooLong { length });
    }
    let cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(expression)
        .map_err(|source| ScheduleError::Expression { expression: expression.to_owned(), source })?;
    let time_zone = time_zone.parse().map_err(|_| ScheduleError::TimeZone { time_zone: time_zone.to_owned() })?;
    next_of_cron(&cron, time_zone, made_at)
        .ok_or_else(|| ScheduleError::Never { expression: expression.to_owned() })?;
    Ok(Kind::Cron { cron: Box::new(cron), time_zone })
}

fn interval(every_s: i64, anchor_at: Timestamp) -> Result<Kind, ScheduleError> {
    if !(1..=MAX_EVERY_S).contains(&every_s) {
        return Err(ScheduleError::Interval { every_s });
    }
    Ok(Kind::Interval { every: TimeDelta::seconds(every_s), anchor_at: instant(anchor_at)? })
}

/// Refuses instants that the arithmetic or the database could not hold.
fn instant(at: Timestamp) -> Result<Timestamp, ScheduleError> {
    const YEAR_10000: i64 = 253_402_300_800;
    if (0..YEAR_10000).contains(&at.timestamp()) { Ok(at) } else { Err(ScheduleError::Instant { at }) }
}

fn next_of_cron(cron: &Cron, time_zone: Tz, instant: Timestamp) -> Option<Timestamp> {
    let next: DateTime<Tz> = cron.find_next_occurrence(&instant.with_timezone(&time_zone), false).ok()?;
    // A slot that isn't later would be settled for ever.
    Some(next.to_utc()).filter(|next| *next > instant)
}

fn next_of_interval(every: TimeDelta, anchor_at: Timestamp, instant: Timestamp) -> Option<Timestamp> {
    let every = every.num_microseconds()?;
    let passed = (instant - anchor_at).num_microseconds()?;
    let steps = passed.div_euclid(every) + 1;
    anchor_at.checked_add_signed(TimeDelta::microseconds(steps.checked_mul(every)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(expression: &str, time_zone: &str) -> Schedule {
        let spec = TriggerSpec::Cron { expression: expression.into(), time_zone: time_zone.into() };
        Schedule::new(&spec, at("2026-01-01T00:00:00Z")).unwrap()
    }

    #[track_caller]
    fn check(schedule: &Schedule, after: &str, expect: &[&str]) {
        let slots = std::iter::successors(schedule.next_after(at(after)), |slot| schedule.next_after(*slot));
        let slots: Vec<_> = slots.take(expect.len()).collect();
        assert_eq!(slots, expect.iter().map(|text| at(text)).collect::<Vec<_>>());
    }

    #[track_caller]
    fn refused(spec: &TriggerSpec, expect: &str) {
        let error = Schedule::new(spec, at("2026-01-01T00:00:00Z")).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }

    #[test]
    fn a_cron_expression_is_read_in_its_time_zone() {
        let berlin = cron("0 9 * * 1-5", "Europe/Berlin");
        check(&berlin, "2026-07-03T06:00:00Z", &["2026-07-03T07:00:00Z", "2026-07-06T07:00:00Z"]);
        check(&berlin, "2026-07-03T07:00:00Z", &["2026-07-06T07:00:00Z"]);
        check(&cron("@hourly", "Asia/Kolkata"), "2026-07-03T06:00:00Z", &["2026-07-03T06:30:00Z"]);
    }

    #[test]
    fn a_daily_time_in_a_gap_runs_once_at_the_end_of_the_gap() {
        // Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        check(
            &cron("30 2 * * *", "Europe/Berlin"),
            "2026-03-28T00:00:00Z",
            &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        );
    }

    #[test]
    fn a_daily_time_that_comes_twice_runs_once_at_the_earlier() {
        // Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
        check(
            &cron("30 2 * * *", "Europe/Berlin"),
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        );
    }

    #[test]
    fn an_hourly_schedule_runs_every_hour_of_real_time() {
        let hourly = cron("15 * * * *", "Europe/Berlin");
        check(&hourly, "2026-03-29T00:00:00Z", &["2026-03-29T00:15:00Z", "2026-03-29T01:15:00Z"]);
        check(
            &hourly,
            "2026-10-24T23:20:00Z",
            &["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"],
        );
    }

    #[test]
    fn times_of_a_list_inside_the_gap_do_not_come() {
        check(
            &cron("30 1-3 * * *", "Europe/Berlin"),
            "2026-03-28T23:00:00Z",
            &["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T23:30:00Z"],
        );
    }

    #[test]
    fn an_interval_counts_from_its_anchor_in_both_directions() {
        let spec = TriggerSpec::Interval { every_s: 90, anchor_at: Some(at("2026-01-01T00:00:30.5Z")) };
        let schedule = Schedule::new(&spec, at("2026-01-01T00:00:00Z")).unwrap();
        check(&schedule, "2026-01-01T00:00:00Z", &["2026-01-01T00:00:30.5Z", "2026-01-01T00:02:00.5Z"]);
        check(&schedule, "2025-12-31T23:57:00Z", &["2025-12-31T23:57:30.5Z"]);
    }

    #[test]
    fn an_interval_without_an_anchor_starts_one_step_after_it_was_made() {
        let made_at = at("2026-01-01T00:00:00Z");
        let schedule = Schedule::new(&TriggerSpec::Interval { every_s: 60, anchor_at: None }, made_at).unwrap();
        assert_eq!(schedule.first(made_at), Some(at("2026-01-01T00:01:00Z")));
    }

    #[test]
    fn a_webhook_trigger_has_no_slot_of_its_own() {
        let new = NewTrigger::new(TriggerSpec::Webhook {}, at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(new.first_due_at, None);
        let schedule = Schedule::new(&new.spec, at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(schedule.next_after(at("2026-01-01T00:00:00Z")), None);
        assert_eq!(TriggerSpec::from_fields("webhook".into(), new.spec.fields()).unwrap(), new.spec);
    }

    #[test]
    fn a_one_time_trigger_has_one_slot() {
        let spec = TriggerSpec::Once { at: at("2026-01-01T00:00:00Z") };
        let schedule = Schedule::new(&spec, at("2026-01-01T00:00:01Z")).unwrap();
        assert_eq!(schedule.first(at("2026-01-01T00:00:01Z")), Some(at("2026-01-01T00:00:00Z")));
        assert_eq!(schedule.next_after(at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn what_can_never_come_due_is_refused() {
        let cron = |expression: &str, time_zone: &str| TriggerSpec::Cron {
            expression: expression.into(),
            time_zone: time_zone.into(),
        };
        refused(&cron("every morning", "UTC"), "the cron expression \"every morning\" can't be read");
        refused(&cron("", "UTC"), "the cron expression \"\" can't be read");
        refused(&cron("* * * * * *", "UTC"), "the cron expression \"* * * * * *\" can't be read");
        refused(&cron("0 0 30 2 *", "UTC"), "the cron expression \"0 0 30 2 *\" names no time that ever comes");
        refused(
            &cron("0 9 * * *", "Mars/Olympus"),
            "the time zone \"Mars/Olympus\" is unknown; use a name such as Europe/Berlin or UTC",
        );
        refused(
            &TriggerSpec::Interval { every_s: 0, anchor_at: None },
            "an interval of 0 s is not between 1 and 31622400 s",
        );
        refused(
            &TriggerSpec::Once { at: at("1812-01-01T00:00:00Z") },
            "the instant 1812-01-01 00:00:00 UTC is not between the years 1970 and 9999",
        );
    }

    #[test]
    fn a_new_one_time_trigger_may_be_a_moment_late_but_not_more() {
        let new = |now: &str| NewTrigger::new(TriggerSpec::Once { at: at("2026-01-01T00:00:00Z") }, at(now));
        assert_eq!(new("2026-01-01T00:01:00Z").unwrap().first_due_at, Some(at("2026-01-01T00:00:00Z")));
        let error = new("2026-01-01T00:01:01Z").unwrap_err();
        assert_eq!(error.to_string(), "the one time 2026-01-01 00:00:00 UTC has passed");
    }

    #[test]
    fn a_trigger_is_written_flat() {
        let spec = TriggerSpec::Cron { expression: "@daily".into(), time_zone: "UTC".into() };
        let json = serde_json::json!({"kind": "cron", "expression": "@daily", "time_zone": "UTC"});
        assert_eq!(serde_json::to_value(&spec).unwrap(), json);
        assert_eq!(serde_json::from_value::<TriggerSpec>(json).unwrap(), spec);
        assert_eq!(TriggerSpec::from_fields("cron".into(), spec.fields()).unwrap(), spec);
        serde_json::from_value::<TriggerSpec>(serde_json::json!({"kind": "interval", "every_s": 1, "evry": 2}))
            .unwrap_err();
    }
}
