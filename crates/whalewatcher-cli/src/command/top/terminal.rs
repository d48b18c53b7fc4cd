//! The terminal: raw mode and the alternate screen while `top` runs, and as before afterwards.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Whether the terminal is ours.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Held while the screen is written, so that nothing is drawn after it was left.
static WRITING: Mutex<()> = Mutex::new(());

/// The terminal's screen.
pub(super) type Screen = Terminal<CrosstermBackend<Stdout>>;

/// Takes the terminal, until the guard is dropped.
///
/// # Errors
///
/// If it has no raw mode.
pub(super) fn take() -> io::Result<(Screen, Guard)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Whatever is being written: the message must be readable.
            leave();
            before(info);
        }));
    });
    let screen = enter()?;
    Ok((screen, Guard))
}

/// Gives the terminal back when it is dropped.
pub(super) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Enters raw mode and the alternate screen, also if the terminal was changed meanwhile. Returns an empty
/// screen: to clear one, ratatui would ask the terminal where its cursor is, and another thread reads the
/// answer.
pub(super) fn enter() -> io::Result<Screen> {
    let _writing = writing();
    // crossterm remembers the mode before the first time only until it is restored.
    disable_raw_mode()?;
    enable_raw_mode()?;
    IS_OURS.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All))?;
    Terminal::new(CrosstermBackend::new(stdout()))
}

/// Gives the terminal back, once.
pub(super) fn give_back() {
    let _writing = writing();
    leave();
}

/// Runs something that writes the screen, if the terminal is ours.
pub(super) fn while_ours<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<Option<T>> {
    let _writing = writing();
    if IS_OURS.load(Ordering::SeqCst) { write().map(Some) } else { Ok(None) }
}

fn leave() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing. The mode comes first: it can be set while output is stopped.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}

fn writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}
