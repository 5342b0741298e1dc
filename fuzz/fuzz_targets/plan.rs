//! A plan: whatever the text, it is read or refused with a sentence of bounded length; what was read can be explained.

#![no_main]

use std::path::Path;

use drill::plan::{Plan, explain, fingerprint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Plan::parse(text) {
        Ok(plan) => {
            assert!(!plan.references().is_empty(), "every plan names the operator's token");
            assert!(!explain(&plan.anchored(Path::new("/plans"))).is_empty());
            assert_eq!(fingerprint(text).len(), 64);
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.advice.is_empty()),
    }
});
