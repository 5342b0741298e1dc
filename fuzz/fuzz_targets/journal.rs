//! A journal: whatever the bytes, it is whole, torn or damaged, and said to be so; what was found whole is whole again, and
//! is not when its last byte is another.

#![no_main]

use attest::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(summary) = check(bytes) else { return };
    assert_eq!(check(bytes).unwrap(), summary);
    if let Some((last, rest)) = bytes.split_last() {
        let mut other = rest.to_vec();
        other.push(last ^ 1);
        assert!(check(&other).is_err(), "a journal without its last line feed is torn");
    }
});
