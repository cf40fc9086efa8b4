//! The colour of a service: the same on every page and after every start.

/// CSS classes of `base.css`.
const HUES: [&str; 8] = [
    "hue-0", "hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6", "hue-7",
];

/// The class of a service, by the FNV-1a hash of its name
/// (<https://www.rfc-editor.org/rfc/rfc9923>).
///
/// The parts of Throughline have places of their own, so that no two of them look alike.
pub(super) fn hue(service: &str) -> &'static str {
    let at = match service {
        "gateway" => 0,
        "model-service" => 1,
        "feature-store" => 2,
        "model-service-python" => 3,
        "model-training" => 4,
        _ => hash(service) as usize % HUES.len(),
    };
    HUES[at]
}

fn hash(text: &str) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    text.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of the RFC.
        assert_eq!(hash(""), 0x811c_9dc5);
        assert_eq!(hash("a"), 0xe40c_292c);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
    }
}
