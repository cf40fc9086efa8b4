//! Slots as the specification of Redis Cluster has them, and answers of real servers.

use super::*;

fn from() -> Address {
    ("10.0.0.1".to_owned(), 7000)
}

fn answer(text: &str) -> Value {
    redis::parse_redis_value(text.as_bytes()).unwrap()
}

fn error(text: &str) -> RedisError {
    answer(&format!("-{text}\r\n")).extract_error().unwrap_err()
}

#[test]
fn slots_are_those_of_the_specification() {
    // The check value of CRC-16/XMODEM, and what `CLUSTER KEYSLOT` of Redis 7.0 says.
    assert_eq!(slot(b"123456789"), 0x31c3);
    for (key, expected) in [
        (&b""[..], 0),
        (b"foo", 12_182),
        (b"{user1000}.following", slot(b"user1000")),
        (b"foo{}{bar}", slot(b"foo{}{bar}")),
        (b"foo{{bar}}zap", slot(b"{bar")),
        (b"foo{bar}{zap}", slot(b"bar")),
        (b"foo{bar", slot(b"foo{bar")),
    ] {
        assert_eq!(slot(key), expected, "{}", String::from_utf8_lossy(key));
    }
    assert_ne!(slot(b"foo{}{bar}"), slot(b""));
}

#[test]
fn redirections_are_read() {
    let to = |host: &str, port| (host.to_owned(), port);
    let read = |text| redirect(&error(text), &from());
    assert_eq!(
        read("MOVED 3999 127.0.0.1:6381"),
        Some(Redirect::Moved(3999, to("127.0.0.1", 6381)))
    );
    assert_eq!(
        read("ASK 0 node.example:1"),
        Some(Redirect::Ask(to("node.example", 1)))
    );
    assert_eq!(
        read("MOVED 16383 :6381"),
        Some(Redirect::Moved(16_383, to("10.0.0.1", 6381)))
    );
    assert_eq!(
        read("MOVED 1 ::1:6381"),
        Some(Redirect::Moved(1, to("::1", 6381)))
    );
    for none in [
        "MOVED",
        "MOVED 16384 a:1",
        "MOVED 1 a",
        "MOVED 1 a:b",
        "TRYAGAIN Multiple keys",
        "ERR MOVED 1 a:1",
    ] {
        assert_eq!(read(none), None, "{none}");
    }
}

#[test]
fn ranges_are_read() {
    let text = "*2\r\n\
        *4\r\n:0\r\n:8191\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n*3\r\n$9\r\n127.0.0.1\r\n:7009\r\n$2\r\nid\r\n\
        *3\r\n:8192\r\n:16383\r\n*4\r\n$-1\r\n:7002\r\n$2\r\nid\r\n*0\r\n";
    let expected = vec![
        (0, 8191, ("127.0.0.1".to_owned(), 7001)),
        (8192, 16_383, ("10.0.0.1".to_owned(), 7002)),
    ];
    assert_eq!(
        ranges(&answer(text), &from()),
        Some(expected),
        "a replica has no slots of its own"
    );
    assert_eq!(ranges(&answer("*0\r\n"), &from()), Some(Vec::new()));
    for wrong in [
        "+OK\r\n",
        "*1\r\n:5\r\n",
        "*1\r\n*3\r\n:5\r\n:4\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*2\r\n:5\r\n:6\r\n",
    ] {
        assert_eq!(ranges(&answer(wrong), &from()), None, "{wrong}");
    }
}
