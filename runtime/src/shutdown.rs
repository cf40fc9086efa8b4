//! The wish to stop, from a signal, from the parent process, or from a test.

use std::io::Read;

#[cfg(unix)]
use tokio::signal::unix;
use tokio::sync::watch;

/// Tells whether the process should stop; cheap to clone and safe to wait for at any time, also after the fact.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: watch::Receiver<bool>,
}

/// Asks every clone of its [`Shutdown`] to stop. Dropping it asks, too.
#[derive(Debug)]
pub struct Trigger {
    stop: watch::Sender<bool>,
}

impl Shutdown {
    /// A pair for tests and for processes with a reason of their own to stop.
    pub fn pair() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger { stop: sender }, Self { stop: receiver })
    }

    /// Stops on SIGINT and SIGTERM, and with `with_parent` when standard input ends. A second signal exits at once.
    ///
    /// Must be called inside a Tokio runtime. Standard input is the lifeline of a child process: the kernel closes the
    /// pipe however the parent died, killed or not, and on every system.
    pub fn of_process(with_parent: bool) -> Self {
        let (trigger, this) = Self::pair();
        let trigger = std::sync::Arc::new(trigger);
        if with_parent {
            let trigger = std::sync::Arc::clone(&trigger);
            std::thread::spawn(move || {
                // Whatever the parent writes is of no interest, only that the pipe is still there.
                let mut byte = [0; 64];
                while std::io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
                trigger.stop();
            });
        }
        // Taken before this returns, so that no early signal meets the system's default and kills the process.
        let mut signals = Signals::take();
        telemetry::task::spawn(async move {
            signals.next().await;
            trigger.stop();
            signals.next().await;
            std::process::exit(130);
        });
        this
    }

    /// Completes when the process should stop.
    pub async fn wait(&self) {
        // An error says that the trigger is gone, which asks to stop as well.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

impl Trigger {
    /// Asks to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// SIGINT and SIGTERM; kept between two signals, so that none is missed.
#[cfg(unix)]
struct Signals {
    interrupt: Option<unix::Signal>,
    terminate: Option<unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn take() -> Self {
        let take = |kind| {
            unix::signal(kind)
                .inspect_err(|error| tracing::warn!(name: "server.no_signals", %error, "cannot listen for signals"))
        };
        Self {
            interrupt: take(unix::SignalKind::interrupt()).ok(),
            terminate: take(unix::SignalKind::terminate()).ok(),
        }
    }

    async fn next(&mut self) {
        async fn one(signal: Option<&mut unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(self.interrupt.as_mut()) => {}
            () = one(self.terminate.as_mut()) => {}
        }
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
