//! How a file is cut into the parts that it is uploaded in.
//!
//! The cut follows from the size that was declared, so a part has one place and one length, and whoever resumes needs to know
//! only which parts are there.
//!
//! Not here: storing them (`objects`), what they become (`store::upload`).

/// Bytes of every part but the last. As many as the body of a request may have.
pub const PART_SIZE: i64 = 1024 * 1024;
/// Bytes of a file that is uploaded.
pub const SIZE_MAX: i64 = 256 * 1024 * 1024;

/// How many parts a file of `size` bytes has. An empty one has none.
#[must_use]
pub fn parts(size: i64) -> i32 {
    let parts = size / PART_SIZE + i64::from(size % PART_SIZE != 0);
    i32::try_from(parts).unwrap_or(i32::MAX)
}

/// Bytes of the part `part`, from 1. `None`: there is no such part.
#[must_use]
pub fn part_size(size: i64, part: i32) -> Option<i64> {
    (1..=parts(size)).contains(&part).then(|| PART_SIZE.min(size - i64::from(part - 1) * PART_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_but_for_the_last_and_make_up_the_whole() {
        for size in [0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 3 * PART_SIZE + 7, SIZE_MAX] {
            let sizes: Vec<i64> = (1..=parts(size)).map(|part| part_size(size, part).unwrap()).collect();
            assert_eq!(sizes.iter().sum::<i64>(), size);
            assert!(sizes.iter().rev().skip(1).all(|part| *part == PART_SIZE) && !sizes.contains(&0), "{sizes:?}");
            assert_eq!(part_size(size, 0).or(part_size(size, parts(size) + 1)), None);
        }
    }
}
