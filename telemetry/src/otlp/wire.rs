//! Protobuf on the wire: fields appended to one buffer, with nothing measured beforehand.
//!
//! Encoding: protobuf.dev/programming-guides/encoding. As in proto3, fields with their default value are left out, but for
//! those whose presence says something.

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A number or enum; zero is left out.
    pub(super) fn number(&mut self, field: u8, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.present_number(field, value);
        }
    }

    /// A number that is written also when it is zero.
    pub(super) fn present_number(&mut self, field: u8, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    pub(super) fn fixed64(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.present_fixed64(field, value);
        }
    }

    pub(super) fn present_fixed64(&mut self, field: u8, value: u64) {
        self.key(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, field: u8, value: u32) {
        if value != 0 {
            self.key(field, FIXED32);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Text or bytes; empty ones are left out.
    pub(super) fn bytes(&mut self, field: u8, value: impl AsRef<[u8]>) {
        if !value.as_ref().is_empty() {
            self.present_bytes(field, value);
        }
    }

    pub(super) fn present_bytes(&mut self, field: u8, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A message inside this one, also when it is empty.
    pub(super) fn message(&mut self, field: u8, write: impl FnOnce(&mut Self)) {
        self.key(field, LENGTH);
        let at = self.bytes.len();
        // Most messages are attributes, whose length takes one byte.
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

    /// All fields of OTLP's messages have numbers that fit into one byte or two.
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
