//! Protobuf's wire format: fields appended to one buffer, without measuring a message beforehand.
//!
//! <https://protobuf.dev/programming-guides/encoding>. As in proto3, a field with its default value
//! is left out; the `present_` methods write it all the same, where its presence has a meaning.

/// A message that is being written.
#[derive(Debug, Default)]
pub(crate) struct ProtobufWriter {
    bytes: Vec<u8>,
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

impl ProtobufWriter {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A number or enum.
    pub(crate) fn number(&mut self, field: u8, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.present_number(field, value);
        }
    }

    pub(crate) fn present_number(&mut self, field: u8, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    pub(crate) fn fixed64(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.present_fixed64(field, value);
        }
    }

    pub(crate) fn present_fixed64(&mut self, field: u8, value: u64) {
        self.key(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn fixed32(&mut self, field: u8, value: u32) {
        if value != 0 {
            self.key(field, FIXED32);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Text or bytes.
    pub(crate) fn bytes(&mut self, field: u8, value: impl AsRef<[u8]>) {
        if !value.as_ref().is_empty() {
            self.present_bytes(field, value);
        }
    }

    pub(crate) fn present_bytes(&mut self, field: u8, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A message inside this one; an empty one is written as well.
    pub(crate) fn message(&mut self, field: u8, write: impl FnOnce(&mut Self)) {
        self.key(field, LENGTH);
        let at = self.bytes.len();
        // One byte holds the length of most messages, since most are attributes.
        self.bytes.push(0);
        write(self);
        let length = self.bytes.len() - at - 1;
        if length < 0x80 {
            self.bytes[at] = length as u8;
            return;
        }
        self.bytes[at] = length as u8 | 0x80;
        let end = self.bytes.len();
        self.varint(length as u64 >> 7);
        let rest = self.bytes.len() - end;
        self.bytes[at + 1..].rotate_right(rest);
    }

    fn key(&mut self, field: u8, wire_type: u8) {
        self.varint(u64::from(field) << 3 | u64::from(wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
