//! What is found again, and that nothing grows without end.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{MOST, Sets};

#[test]
fn a_set_is_bound_once_and_found_again() {
    let sets: Sets<(&str, u16), usize> = Sets::new();
    let bound = AtomicUsize::new(0);
    let find =
        |method, status| sets.find(&(method, status), || bound.fetch_add(1, Ordering::Relaxed));
    assert_eq!(find("GET", 200), Some(&0));
    assert_eq!(find("GET", 404), Some(&1));
    assert_eq!(find("GET", 200), Some(&0));
    assert_eq!(find("GET", 404), Some(&1));
    assert_eq!(bound.into_inner(), 2);
}

#[test]
fn what_comes_after_the_last_place_is_not_bound() {
    let sets = Sets::new();
    for key in 0..MOST {
        assert_eq!(sets.find(&key, || key), Some(&key));
    }
    assert_eq!(sets.find(&MOST, || MOST), None);
    assert_eq!(sets.find(&0, || MOST), Some(&0), "the early ones stay");
}

#[test]
fn threads_that_meet_at_one_place_get_their_own_sets() {
    let sets: Sets<usize, usize> = Sets::new();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let sets = &sets;
            scope.spawn(move || {
                for nth in 0..MOST {
                    let key = (first + nth) % MOST;
                    assert_eq!(sets.find(&key, || key), Some(&key));
                }
            });
        }
    });
}
