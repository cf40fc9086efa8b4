//! Where the nodes of the map are: columns by the longest way from the callers, rows by the
//! position of the callers, so that lines cross little.

use std::collections::{BTreeMap, HashMap};

use crate::service_map::{Node, NodeKind, ServiceMap};

/// Width and height of a node.
pub(super) const NODE: (f64, f64) = (176.0, 58.0);
/// Between the columns, with room for a line's label, and between the rows.
const GAPS: (f64, f64) = (118.0, 30.0);
const MARGIN: f64 = 16.0;

/// The places, and the size of the drawing.
pub(super) struct Layout<'a> {
    /// Left upper corners by id.
    pub places: HashMap<&'a str, (f64, f64)>,
    pub width: f64,
    pub height: f64,
}

pub(super) fn layout(map: &ServiceMap) -> Layout<'_> {
    let columns = columns(map);
    let mut by_column: BTreeMap<usize, Vec<&Node>> = BTreeMap::new();
    for node in &map.nodes {
        let column = columns.get(node.id.as_str()).copied().unwrap_or(0);
        by_column.entry(column).or_default().push(node);
    }
    let most = by_column.values().map(Vec::len).max().unwrap_or(1) as f64;
    let height = most * NODE.1 + (most - 1.0) * GAPS.1;
    let mut places: HashMap<&str, (f64, f64)> = HashMap::new();
    for (at, nodes) in by_column.values_mut().enumerate() {
        nodes.sort_by(|a, b| {
            let (a_row, b_row) = (row(map, &places, a), row(map, &places, b));
            a_row.total_cmp(&b_row).then_with(|| a.id.cmp(&b.id))
        });
        let count = nodes.len() as f64;
        let own = count * NODE.1 + (count - 1.0) * GAPS.1;
        let x = MARGIN + at as f64 * (NODE.0 + GAPS.0);
        for (number, node) in nodes.iter().enumerate() {
            let y = MARGIN + (height - own) / 2.0 + number as f64 * (NODE.1 + GAPS.1);
            places.insert(&node.id, (x, y));
        }
    }
    let width = by_column.len() as f64 * (NODE.0 + GAPS.0) - GAPS.0;
    Layout {
        places,
        width: width + 2.0 * MARGIN,
        height: height + 2.0 * MARGIN + GAPS.1,
    }
}

/// The length of the longest way to each node; services that call each other in a circle are let
/// go round once at most.
fn columns(map: &ServiceMap) -> HashMap<&str, usize> {
    let mut columns: HashMap<&str, usize> = HashMap::new();
    for node in &map.nodes {
        columns.insert(&node.id, 0);
    }
    let most = map.nodes.len().min(8);
    for _ in 0..most {
        for edge in &map.edges {
            let from = columns.get(edge.from.as_str()).copied().unwrap_or(0);
            if let Some(to) = columns.get_mut(edge.to.as_str())
                && edge.from != edge.to
            {
                *to = (*to).max(from + 1).min(most);
            }
        }
    }
    columns
}

/// The mean height of a node's callers; stores and variants below services.
fn row(map: &ServiceMap, places: &HashMap<&str, (f64, f64)>, node: &Node) -> f64 {
    let callers = map.edges.iter().filter(|edge| edge.to == node.id);
    let heights: Vec<f64> = callers
        .filter_map(|edge| places.get(edge.from.as_str()))
        .map(|(_, y)| *y)
        .collect();
    let kind = match node.kind {
        NodeKind::Client | NodeKind::Service | NodeKind::Peer => 0.0,
        NodeKind::Variant => 1.0,
        NodeKind::Store => 2.0,
    };
    heights.iter().sum::<f64>() / heights.len().max(1) as f64 + kind
}
