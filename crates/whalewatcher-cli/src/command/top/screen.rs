//! The thread that draws: it looks at what is known now, and is never waited for.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::time::Instant;
use whalewatcher_core::history::History;

use super::model::{Choice, Cover, Input, Moment, Starts};
use super::terminal::{self, Screen};
use super::view;
use crate::thread::spawn_detached;

/// How often ages are drawn again.
const SECOND: Duration = Duration::from_secs(1);

/// The shortest time between two drawings of changes.
const PAUSE: Duration = Duration::from_millis(50);

/// What wakes the thread.
pub(super) enum Wake {
    Key(KeyEvent),
    Resized,
    /// Something has changed.
    Changed,
    /// The user or a signal asks to suspend the program.
    Suspend,
    /// The program goes on after it was stopped.
    Continued,
    /// The terminal is gone.
    Closed,
}

/// How many reasons to draw may wait for a terminal that is stopped.
pub(super) const QUEUE: usize = 64;

/// Has changes drawn. If the queue is full, they will be anyway.
pub(super) fn changed(wake: &SyncSender<Wake>) {
    let _ = wake.try_send(Wake::Changed);
}

/// What the subscription leads to, for the thread to look at.
#[derive(Default)]
pub(super) struct Known {
    pub(super) moment: Moment,
    pub(super) history: History,
}

/// Returns what is known; it is locked for a moment only.
pub(super) fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the threads for keys and for the signals that stop and continue the program.
pub(super) fn spawn_inputs(wake: &SyncSender<Wake>) -> anyhow::Result<()> {
    let keys = wake.clone();
    spawn_detached("keys", move || {
        loop {
            let wake = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Wake::Key(key),
                Ok(Event::Resize(..)) => Wake::Resized,
                Ok(_) => continue,
                Err(_) => Wake::Closed,
            };
            let is_over = matches!(wake, Wake::Closed);
            if keys.send(wake).is_err() || is_over {
                return;
            }
        }
    })?;
    let signals = wake.clone();
    let mut stops = Signals::new([SIGTSTP, SIGCONT])?;
    spawn_detached("stops", move || {
        for signal in stops.forever() {
            let wake = if signal == SIGTSTP { Wake::Suspend } else { Wake::Continued };
            if signals.send(wake).is_err() {
                return;
            }
        }
    })
}

/// Draws until the user quits, or the terminal is gone.
pub(super) fn run(
    mut screen: Screen,
    wakes: &Receiver<Wake>,
    known: &Arc<Mutex<Known>>,
    mut choice: Choice,
) -> io::Result<()> {
    let mut due = Instant::now();
    let mut drawn = due;
    let mut starts = Starts::new();
    loop {
        let limit = due.saturating_duration_since(Instant::now());
        match wakes.recv_timeout(limit) {
            Err(RecvTimeoutError::Timeout) => {
                let moment = moment(known, &mut starts, &mut choice);
                let drawing = terminal::while_ours(|| {
                    screen.draw(|frame| view::draw(frame, &moment, &mut choice, SystemTime::now())).map(drop)
                })?;
                if drawing.is_none() {
                    return Err(io::Error::other("a thread failed; its message is above"));
                }
                drawn = Instant::now();
                due = drawn + SECOND;
            }
            // Many changes are drawn at once.
            Ok(Wake::Changed) => due = due.min(drawn + PAUSE),
            Ok(Wake::Key(key)) => {
                due = Instant::now();
                if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('z') {
                    screen = suspend()?;
                    continue;
                }
                let Some(input) = input(key) else {
                    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
                        return Ok(());
                    }
                    continue;
                };
                let moment = moment(known, &mut starts, &mut choice);
                let page = view::page(screen.size()?.height);
                if choice.handle(input, &moment, page) {
                    return Ok(());
                }
            }
            Ok(Wake::Resized) => due = Instant::now(),
            Ok(Wake::Suspend) => {
                screen = suspend()?;
                due = Instant::now();
            }
            Ok(Wake::Continued) => {
                screen = terminal::enter()?;
                due = Instant::now();
            }
            Ok(Wake::Closed) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Returns what is known now, with the past lives of the container whose details are shown.
fn moment(known: &Mutex<Known>, starts: &mut Starts, choice: &mut Choice) -> Moment {
    let mut moment = {
        let mut known = lock(known);
        let Known { moment, history } = &mut *known;
        let details = match &choice.cover {
            Cover::Details(place) => Some(place),
            _ => None,
        };
        moment.take_history(history, details);
        moment.clone()
    };
    moment.take_starts(starts);
    choice.settle(&moment);
    moment
}

/// Stops the program, as its terminal's line discipline would, and goes on with its screen.
fn suspend() -> io::Result<Screen> {
    terminal::give_back();
    emulate_default_handler(SIGTSTP)?;
    terminal::enter()
}

fn input(key: KeyEvent) -> Option<Input> {
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return None;
    }
    Some(match key.code {
        KeyCode::Up => Input::Up,
        KeyCode::Down => Input::Down,
        KeyCode::PageUp => Input::PageUp,
        KeyCode::PageDown => Input::PageDown,
        KeyCode::Home => Input::First,
        KeyCode::End => Input::Last,
        KeyCode::Enter => Input::Enter,
        KeyCode::Esc => Input::Escape,
        KeyCode::Backspace => Input::Erase,
        KeyCode::Char(c) => Input::Character(c),
        _ => return None,
    })
}
