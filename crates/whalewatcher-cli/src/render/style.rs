//! The terminal behind the standard output: its width, and colours.

use std::io::{IsTerminal, stderr, stdout};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When the output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is 'dumb'
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What the command line says, for the whole process.
static COLOUR: OnceLock<Colour> = OnceLock::new();

/// Sets when output has colours, once for the process.
pub(crate) fn set_colour(colour: Colour) {
    let _ = COLOUR.set(colour);
}

/// The standard output as a terminal, or as none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    is_terminal: bool,
    coloured: bool,
    /// Instead of the one that the terminal reports.
    #[cfg(test)]
    fixed: Option<usize>,
}

impl Terminal {
    /// Returns the terminal of the standard output.
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = stdout().is_terminal();
        Self {
            is_terminal,
            coloured: wants_colour(is_terminal),
            #[cfg(test)]
            fixed: None,
        }
    }

    /// Returns no terminal: unlimited width, no colour.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::of_width(None)
    }

    /// Returns a terminal of this width, without colour.
    #[cfg(test)]
    pub(crate) fn of_width(fixed: Option<usize>) -> Self {
        Self { is_terminal: false, coloured: false, fixed }
    }

    /// Returns the current width in cells; `None` if it is unlimited.
    pub(crate) fn width(self) -> Option<usize> {
        #[cfg(test)]
        if self.fixed.is_some() {
            return self.fixed;
        }
        let (width, _) = self.is_terminal.then(|| terminal_size::terminal_size_of(stdout()))??;
        Some(usize::from(width.0)).filter(|width| *width > 0)
    }

    /// Returns the text in this style, or unchanged without colours.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.coloured && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Returns whether the standard error has colours.
pub(crate) fn stderr_is_coloured() -> bool {
    wants_colour(stderr().is_terminal())
}

fn wants_colour(is_terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    match COLOUR.get().copied().unwrap_or_default() {
        Colour::Auto => is_terminal && !set("NO_COLOR") && !dumb,
        Colour::Always => true,
        Colour::Never => false,
    }
}

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const RED: Style = AnsiColor::Red.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const BLUE: Style = AnsiColor::Blue.on_default();
pub(crate) const MAGENTA: Style = AnsiColor::Magenta.on_default();
