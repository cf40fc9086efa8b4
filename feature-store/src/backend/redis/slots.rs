//! The slot of a key, one of 16,384, decides which node of a cluster has it.
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use redis::{RedisError, Value};

/// Host and port of a node.
pub(super) type Address = (String, u16);

/// The number of slots of a cluster.
pub(super) const SLOTS: usize = 16_384;

/// Which node a command must be sent to instead.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Redirect {
    /// `MOVED`: for this slot from now on.
    Moved(usize, Address),
    /// `ASK`: for this command only, while the slot is moving.
    Ask(Address),
}

/// The slot of a key: CRC-16/XMODEM of the text between the first braces, or of the whole key if
/// there is none.
pub(super) fn slot(key: &[u8]) -> usize {
    let open = key.iter().position(|&byte| byte == b'{').map(|at| at + 1);
    let tag = open.and_then(|from| {
        let length = key[from..].iter().position(|&byte| byte == b'}')?;
        (length > 0).then(|| &key[from..from + length])
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    });
    usize::from(crc) % SLOTS
}

/// Reads an error as a redirection. `from` is the node that replied: a node that does not know its
/// own name leaves it out.
pub(super) fn redirect(error: &RedisError, from: &Address) -> Option<Redirect> {
    let code = error.code()?;
    let mut words = error.detail()?.split_ascii_whitespace();
    let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    let address = address(host, port.parse().ok()?, from);
    match code {
        "MOVED" => Some(Redirect::Moved(slot, address)),
        "ASK" => Some(Redirect::Ask(address)),
        _ => None,
    }
}

/// Reads the reply to `CLUSTER SLOTS`: the first and the last slot of each range, and the address
/// of its master.
pub(super) fn ranges(reply: &Value, from: &Address) -> Option<Vec<(usize, usize, Address)>> {
    let Value::Array(ranges) = reply else {
        return None;
    };
    ranges.iter().map(|entry| range(entry, from)).collect()
}

fn range(entry: &Value, from: &Address) -> Option<(usize, usize, Address)> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let [
        Value::Int(first),
        Value::Int(last),
        Value::Array(master),
        ..,
    ] = &entry[..]
    else {
        return None;
    };
    let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
    let [host, Value::Int(port), ..] = &master[..] else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    let master = address(host, u16::try_from(*port).ok()?, from);
    (first <= last && last < SLOTS).then_some((first, last, master))
}

fn address(host: &str, port: u16, from: &Address) -> Address {
    let host = if matches!(host, "" | "?") {
        &from.0
    } else {
        host
    };
    (host.to_owned(), port)
}

#[cfg(test)]
mod tests;
