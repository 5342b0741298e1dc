//! Takes secrets out of text, and finds secrets in text.
