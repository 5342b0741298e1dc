//! The report in forms that other programs read: JUnit XML, a Prometheus textfile, a GitHub step summary, OSCAL
//! assessment results.
//!
//! Each is a pure function of the report. None of them is evidence: what is signed is the report itself.
//!
//! Not here: where they are written to (the binary).

mod github;
mod junit;
mod oscal;
mod prometheus;

use std::str::FromStr;

use super::Report;

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Junit,
    Prometheus,
    Github,
    Oscal,
}

/// There is no such form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of junit, prometheus, github, oscal")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "junit" => Ok(Self::Junit),
            "prometheus" => Ok(Self::Prometheus),
            "github" => Ok(Self::Github),
            "oscal" => Ok(Self::Oscal),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

impl Format {
    /// The report in this form, with a line feed at its end.
    #[must_use]
    pub fn render(self, report: &Report) -> String {
        match self {
            Self::Junit => junit::render(report),
            Self::Prometheus => prometheus::render(report),
            Self::Github => github::render(report),
            Self::Oscal => oscal::render(report),
        }
    }

    /// Whether a file of this form grows by each report: GitHub shows all that the steps of a job have written.
    #[must_use]
    pub fn appends(self) -> bool {
        self == Self::Github
    }
}
