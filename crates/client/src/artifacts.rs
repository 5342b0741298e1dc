//! Artifacts: list, view, download.
