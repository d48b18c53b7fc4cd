//! The terminal behind the standard output: its width, and colours.

use std::io::{IsTerminal, stderr, stdout};

use anstyle::{AnsiColor, Style};

/// The standard output as a terminal, or as none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    is_terminal: bool,
    coloured: bool,
}

impl Terminal {
    /// Returns the terminal of the standard output.
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = stdout().is_terminal();
        Self { is_terminal, coloured: is_terminal && wants_colour() }
    }

    /// Returns no terminal: unlimited width, no colour.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { is_terminal: false, coloured: false }
    }

    /// Returns the current width in cells; `None` if it is unlimited.
    pub(crate) fn width(self) -> Option<usize> {
        let (width, _) = self.is_terminal.then(|| terminal_size::terminal_size_of(stdout()))??;
        Some(usize::from(width.0)).filter(|width| *width > 0)
    }

    /// Returns the text in this style, or unchanged without colours.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.coloured && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Returns whether the standard error is a terminal with colours.
pub(crate) fn stderr_is_coloured() -> bool {
    stderr().is_terminal() && wants_colour()
}

fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    !set("NO_COLOR") && !dumb
}

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const RED: Style = AnsiColor::Red.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const BLUE: Style = AnsiColor::Blue.on_default();
pub(crate) const MAGENTA: Style = AnsiColor::Magenta.on_default();
