//! The uncertainty of a share that was counted on few pairs.

/// The quantile of the normal distribution that leaves 2.5 % on either side.
const Z: f64 = 1.959_963_984_540_054;

/// The interval that holds the true share with 95 % confidence (E. B. Wilson: Probable Inference,
/// the Law of Succession, and Statistical Inference, 1927). Unlike the plain interval, it stays
/// within 0 and 1 and has a width even when all agree.
pub(crate) fn wilson95(agreed: u64, pairs: u64) -> Option<[f64; 2]> {
    if pairs == 0 {
        return None;
    }
    let (n, share) = (pairs as f64, agreed as f64 / pairs as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some([(middle - half).max(0.0), (middle + half).min(1.0)])
}
