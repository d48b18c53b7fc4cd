//! What is known of the terminal behind the standard output, if there is one: its width, and whether it likes colour.

use std::io::{IsTerminal, stderr, stdout};

use anstyle::{AnsiColor, Style};

/// Where text for people goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    is_one: bool,
    coloured: bool,
}

impl Terminal {
    /// That of the standard output.
    pub(crate) fn of_stdout() -> Self {
        let is_one = stdout().is_terminal();
        Self { is_one, coloured: is_one && wants_colour() }
    }

    /// None: text of any width, without colour.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { is_one: false, coloured: false }
    }

    /// How many cells a line has at the moment; `None` where there is no limit.
    pub(crate) fn width(self) -> Option<usize> {
        let (width, _) = self.is_one.then(|| terminal_size::terminal_size_of(stdout()))??;
        Some(usize::from(width.0)).filter(|width| *width > 0)
    }

    /// The text in this style, or as it is.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.coloured && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Whether the standard error is a terminal that likes colour.
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
