//! Panics go through the sink like everything else.

use std::panic::PanicHookInfo;

/// Replaces the hook that would print the panic's text, secrets and all, to standard error.
pub(crate) fn log_them() {
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(target: "panic", location, thread, "{}", text_of(info));
    }));
}

fn text_of<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    info.payload_as_str().unwrap_or("a panic without a text")
}
