//! Values are made once and found again, and the map never grows beyond its capacity.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{CAPACITY, FixedMap};

#[test]
fn a_value_is_made_once_and_found_again() {
    let map: FixedMap<(&str, u16), usize> = FixedMap::new();
    let made = AtomicUsize::new(0);
    for (method, status, value) in [
        ("GET", 200, 0),
        ("GET", 404, 1),
        ("GET", 200, 0),
        ("GET", 404, 1),
    ] {
        let found =
            map.get_or_insert_with(&(method, status), || made.fetch_add(1, Ordering::Relaxed));
        assert_eq!(found, Some(&value));
    }
    assert_eq!(made.into_inner(), 2);
}

#[test]
fn a_full_map_keeps_its_keys_and_takes_no_other() {
    let map = FixedMap::new();
    for key in 0..CAPACITY {
        assert_eq!(map.get_or_insert_with(&key, || key), Some(&key));
    }
    assert_eq!(map.get_or_insert_with(&CAPACITY, || CAPACITY), None);
    assert_eq!(
        map.get_or_insert_with(&0, || CAPACITY),
        Some(&0),
        "the early ones stay"
    );
}

#[test]
fn threads_that_meet_at_one_slot_get_their_own_values() {
    let map: FixedMap<usize, usize> = FixedMap::new();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let map = &map;
            scope.spawn(move || {
                for nth in 0..CAPACITY {
                    let key = (first + nth) % CAPACITY;
                    assert_eq!(map.get_or_insert_with(&key, || key), Some(&key));
                }
            });
        }
    });
}
