//! What libbpf says while it works: kept for the error that follows instead of printed.
//!
//! libbpf explains failures (the verifier's words, the driver's reason) only through a print
//! function, one for the process, called by the thread that asked.

use std::{cell::RefCell, sync::Once};

use libbpf_rs::{PrintLevel, set_print};

/// Lines kept at most; the verifier's verdict is in its last ones.
const LINES: usize = 12;

thread_local! {
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static LISTEN: Once = Once::new();

/// Runs `work`; what libbpf warned of meanwhile, as one text, empty if it did not.
pub(super) fn listening<T>(work: impl FnOnce() -> T) -> (T, String) {
    LISTEN.call_once(|| {
        set_print(Some((PrintLevel::Warn, keep)));
    });
    SAID.with_borrow_mut(Vec::clear);
    let outcome = work();
    let said = SAID.with_borrow_mut(std::mem::take);
    let from = said.len().saturating_sub(LINES);
    (outcome, said[from..].join("; "))
}

fn keep(_level: PrintLevel, text: String) {
    let text = text.trim().trim_start_matches("libbpf: ");
    let text = text.trim_start_matches("Kernel error message: ");
    if !text.is_empty() {
        SAID.with_borrow_mut(|said| said.push(text.to_owned()));
    }
}
