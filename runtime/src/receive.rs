//! Receives request bodies: bounded in bytes, in time and in number.
//!
//! A request takes part in the work only when its body is there, so clients that send slowly hold
//! no place of others. Bodies that arrive with their heads, which are nearly all, are not counted.

use std::collections::BTreeMap;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::options::ProcessOptions;
use crate::refusal::Refusal;

/// Bytes of all incomplete bodies together.
const MAX_BUFFERED: usize = 64 << 20;

/// The bodies that are under way.
#[derive(Debug)]
pub(crate) struct Receiver {
    timeout: Duration,
    most: usize,
    buffered: AtomicUsize,
    slow: Mutex<SlowBodies>,
}

#[derive(Debug, Default)]
struct SlowBodies {
    next: u64,
    /// By age.
    places: BTreeMap<u64, Arc<Notify>>,
}

impl Receiver {
    pub(crate) fn new(options: &ProcessOptions) -> Self {
        Self {
            timeout: options.body_timeout,
            most: options.max_slow_bodies,
            buffered: AtomicUsize::new(0),
            slow: Mutex::default(),
        }
    }

    /// The whole body, at most `limit` bytes. A declared length beyond the limit is refused before
    /// anything is read, so that hyper sends no `100 Continue` (RFC 9110 §10.1.1).
    pub(crate) async fn receive(&self, body: Body, limit: usize) -> Result<Bytes, Refusal> {
        if body.size_hint().lower() > limit as u64 {
            return Err(Refusal::BodyTooLarge(limit));
        }
        let mut body = pin!(self.collect(body, limit));
        tokio::select! {
            biased;
            whole = &mut body => return whole,
            () = ready(()) => {}
        }
        let place = self.take_place();
        tokio::select! {
            biased;
            whole = body => whole,
            () = place.lost.notified() => Err(Refusal::BodyTimedOut),
            () = tokio::time::sleep(self.timeout) => Err(Refusal::BodyTimedOut),
        }
    }

    async fn collect(&self, mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
        let mut whole = Collected::new(self);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::BodyUnreadable)?;
            // Trailers mean nothing here.
            if let Ok(chunk) = frame.into_data() {
                whole.push(chunk, limit)?;
            }
        }
        Ok(whole.take())
    }

    /// With as many slow bodies as allowed, the oldest loses its place: a new one is more likely to
    /// be honest.
    fn take_place(&self) -> Place<'_> {
        let lost = Arc::new(Notify::new());
        let mut slow = self.slow.lock();
        let number = slow.next;
        slow.next += 1;
        slow.places.insert(number, Arc::clone(&lost));
        if slow.places.len() > self.most {
            slow.drop_oldest();
        }
        drop(slow);
        Place {
            receiver: self,
            number,
            lost,
        }
    }
}

impl SlowBodies {
    fn drop_oldest(&mut self) {
        if let Some((_, lost)) = self.places.pop_first() {
            lost.notify_one();
        }
    }
}

/// The place of a slow body.
struct Place<'a> {
    receiver: &'a Receiver,
    number: u64,
    lost: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.receiver.slow.lock().places.remove(&self.number);
    }
}

/// The bytes that have arrived. A body of one chunk is not copied.
struct Collected<'a> {
    receiver: &'a Receiver,
    first: Bytes,
    all: BytesMut,
    length: usize,
}

impl<'a> Collected<'a> {
    fn new(receiver: &'a Receiver) -> Self {
        Self {
            receiver,
            first: Bytes::new(),
            all: BytesMut::new(),
            length: 0,
        }
    }

    fn push(&mut self, chunk: Bytes, limit: usize) -> Result<(), Refusal> {
        let length = self.length + chunk.len();
        if length > limit {
            return Err(Refusal::BodyTooLarge(limit));
        }
        let buffered = &self.receiver.buffered;
        if buffered.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len() > MAX_BUFFERED {
            self.receiver.slow.lock().drop_oldest();
        }
        if self.length == 0 {
            self.first = chunk;
        } else {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
            self.all.extend_from_slice(&chunk);
        }
        self.length = length;
        Ok(())
    }

    fn take(mut self) -> Bytes {
        if self.all.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.all).freeze()
        }
    }
}

impl Drop for Collected<'_> {
    fn drop(&mut self) {
        self.receiver
            .buffered
            .fetch_sub(self.length, Ordering::Relaxed);
    }
}
