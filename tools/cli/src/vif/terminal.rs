//! The terminal while rates are shown: its size, single keys, and its old state at the end.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Clears the screen and goes to its corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What happened while waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The time is over.
    Tick,
    /// A key.
    Key(u8),
    /// A signal asks to end.
    End,
}

/// The terminal, if there is one, with keys delivered one by one. Dropping it restores the old state.
pub(super) struct Terminal {
    before: Option<Termios>,
    ended: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes it over.
    pub(super) fn open() -> io::Result<Terminal> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&ended))?;
        }
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut single_keys = before.clone();
            single_keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            tcsetattr(io::stdin(), OptionalActions::Now, &single_keys)?;
        }
        Ok(Terminal { before, ended })
    }

    /// Lines of the screen; 0 without one.
    pub(super) fn rows() -> usize {
        tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_row))
    }

    /// What to print before a new picture.
    pub(super) fn clear() -> &'static str {
        if io::stdout().is_terminal() { CLEAR } else { "" }
    }

    /// Waits for a key, but not longer than this.
    pub(super) fn wait(&self, longest: Duration) -> Event {
        let stdin = io::stdin();
        let timeout = Timespec::try_from(longest).ok();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        // Without a terminal nobody types: only the time counts.
        let watched = if self.before.is_some() { &mut fds[..] } else { &mut [] };
        let ready = poll(watched, timeout.as_ref());
        if self.ended.load(Ordering::Relaxed) {
            return Event::End;
        }
        let mut key = [0];
        match ready {
            Ok(1..) if rustix::io::read(&stdin, &mut key) == Ok(1) => Event::Key(key[0]),
            Ok(1..) => Event::End,
            _ => Event::Tick,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
