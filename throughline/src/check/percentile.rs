//! Percentiles of a few exact values.

/// The smallest value that is not exceeded by `percent` of the values (the nearest rank).
pub(super) fn nearest_rank(values: &mut [u64], percent: u32) -> Option<u64> {
    values.sort_unstable();
    let rank = (values.len() * percent as usize).div_ceil(100);
    values.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::nearest_rank;

    #[test]
    fn the_rank_is_rounded_up() {
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(nearest_rank(&mut hundred, 95), Some(95));
        assert_eq!(nearest_rank(&mut [3, 1, 2], 95), Some(3));
        assert_eq!(nearest_rank(&mut [5, 9], 50), Some(5));
        assert_eq!(nearest_rank(&mut [7], 1), Some(7));
        assert_eq!(nearest_rank(&mut [], 95), None);
    }
}
