//! The request to stop, from a signal, from the parent process, or from a test.

use std::io::Read;

#[cfg(unix)]
use tokio::signal::unix;
use tokio::sync::watch;

/// Whether the process should stop. It is cheap to clone and can be waited for at any time, also
/// after the stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: watch::Receiver<bool>,
}

/// Stops every clone of its [`Shutdown`], also when it is dropped.
#[derive(Debug)]
pub struct Trigger {
    stop: watch::Sender<bool>,
}

impl Shutdown {
    /// A pair for tests, and for processes that stop by themselves.
    pub fn pair() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger { stop: sender }, Self { stop: receiver })
    }

    /// Stops on SIGINT and SIGTERM, and with `with_parent` when standard input ends. A second
    /// signal exits at once.
    ///
    /// Call it inside a Tokio runtime. A child process watches standard input, since the kernel
    /// closes the pipe on every system however the parent ends, even when it is killed.
    pub fn of_process(with_parent: bool) -> Self {
        let (trigger, shutdown) = Self::pair();
        let trigger = std::sync::Arc::new(trigger);
        if with_parent {
            let trigger = std::sync::Arc::clone(&trigger);
            std::thread::spawn(move || {
                // What the parent writes is ignored: only the end of the pipe matters.
                let mut byte = [0; 64];
                while std::io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
                trigger.stop();
            });
        }
        // Registered before this returns: by the system's default, an early signal would kill the
        // process.
        let mut signals = Signals::take();
        telemetry::task::spawn(async move {
            signals.next().await;
            trigger.stop();
            signals.next().await;
            std::process::exit(130);
        });
        shutdown
    }

    /// Whether the process should stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Completes when the process should stop.
    pub async fn wait(&self) {
        // An error means that the trigger was dropped, which stops as well.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

impl Trigger {
    /// Stops every clone.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// SIGINT and SIGTERM. The listeners are kept between two signals, so that none is missed.
#[cfg(unix)]
struct Signals {
    interrupt: Option<unix::Signal>,
    terminate: Option<unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn take() -> Self {
        Self {
            interrupt: listen(unix::SignalKind::interrupt()),
            terminate: listen(unix::SignalKind::terminate()),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            () = received(self.interrupt.as_mut()) => {}
            () = received(self.terminate.as_mut()) => {}
        }
    }
}

#[cfg(unix)]
fn listen(kind: unix::SignalKind) -> Option<unix::Signal> {
    unix::signal(kind)
        .inspect_err(
            |error| tracing::warn!(name: "server.no_signals", %error, "cannot listen for signals"),
        )
        .ok()
}

#[cfg(unix)]
async fn received(signal: Option<&mut unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn take() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
