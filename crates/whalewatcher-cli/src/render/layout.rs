//! Which columns a table has, and how wide they are.

use crate::render::column::Column;
use crate::render::texts::WIDEST;
use crate::render::width;

pub(super) const INDENT: usize = 2;
pub(super) const GAP: usize = 2;

/// The columns for which no other one is cut: a narrow terminal drops them first, in this order.
const EXTRA: [Column; 7] = [
    Column::Ports,
    Column::Networks,
    Column::Engine,
    Column::Host,
    Column::Restarts,
    Column::Health,
    Column::Image,
];

/// The columns that a narrow terminal drops next, in this order. Names, states and ages stay.
const DROPPED: [Column; 4] = [Column::Id, Column::Pid, Column::Project, Column::Pod];

/// The columns that get what is left beyond the shortest widths, in this order.
const WIDENED: [Column; 5] = [Column::Pod, Column::Name, Column::Project, Column::Host, Column::Image];

/// How a table of containers looks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    columns: Vec<Column>,
    /// The columns were asked for: those without any text stay.
    is_exact: bool,
    /// The columns are cut and dropped to fit a terminal.
    fits: bool,
    /// Texts are in full.
    pub(super) is_full: bool,
    pub(super) has_header: bool,
    pub(super) is_grouped: bool,
}

impl Default for Layout {
    /// The table for people: by project, as wide as the terminal.
    fn default() -> Self {
        use Column::{Age, Id, Image, Name, Pid, Pod, State};
        Self {
            columns: vec![Name, Pod, Id, Image, Pid, State, Age],
            is_exact: false,
            fits: true,
            is_full: false,
            has_header: true,
            is_grouped: true,
        }
    }
}

impl Layout {
    /// The table with status and ports, as wide as it is.
    pub(crate) fn wide() -> Self {
        use Column::{Id, Image, Name, Pid, Pod, Ports, Status};
        Self { columns: vec![Name, Pod, Id, Image, Pid, Status, Ports], fits: false, ..Self::default() }
    }

    /// A table of all containers without groups: columns for projects and engines take their place.
    #[must_use]
    pub(crate) fn flat(mut self) -> Self {
        self.is_grouped = false;
        self.columns.insert(1, Column::Project);
        self.columns.extend([Column::Host, Column::Engine]);
        self
    }

    /// A table of exactly these columns, without groups.
    pub(crate) fn of(columns: &[Column]) -> Self {
        let columns = columns.to_vec();
        Self { columns, is_exact: true, fits: false, is_grouped: false, ..Self::default() }
    }

    /// Without headings.
    #[must_use]
    pub(crate) fn without_header(mut self) -> Self {
        self.has_header = false;
        self
    }

    /// With all texts in full, whatever the terminal's width is.
    #[must_use]
    pub(crate) fn in_full(mut self) -> Self {
        (self.is_full, self.fits) = (true, false);
        self
    }

    /// Whether containers are grouped by engine and project.
    pub(crate) fn is_grouped(&self) -> bool {
        self.is_grouped
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns the columns to show, by their place in [`columns`](Self::columns), and their widths. A narrow
    /// terminal cuts images, then drops them, then cuts other long texts, then drops other columns, and cuts
    /// names as far as needed.
    pub(super) fn fit(
        &self,
        rows: &[Vec<String>],
        several_engines: bool,
        terminal: Option<usize>,
    ) -> Vec<(usize, usize)> {
        let widest = if self.is_full { usize::MAX } else { WIDEST };
        let natural = |(place, column): (usize, &Column)| {
            let widest_cell = rows.iter().map(|row| width::cells(&row[place])).max().unwrap_or_default();
            let differs = match column {
                Column::Engine => several_engines,
                Column::Host => rows.iter().any(|row| row[place] != rows[0][place]),
                _ => true,
            };
            let is_shown = self.is_exact || widest_cell > 0 && differs;
            let heading = if self.has_header { column.heading().len() } else { 0 };
            is_shown.then(|| (place, widest_cell.max(heading).min(widest)))
        };
        let shown: Vec<_> = self.columns.iter().enumerate().filter_map(natural).collect();
        match terminal.filter(|_| self.fits) {
            Some(terminal) => self.squeeze(shown, terminal),
            None => shown,
        }
    }

    fn squeeze(&self, mut shown: Vec<(usize, usize)>, terminal: usize) -> Vec<(usize, usize)> {
        let indent = if self.is_grouped { INDENT } else { 0 };
        let shortest = |(place, natural): (usize, usize)| {
            self.columns[place].shortest().map_or(natural, |shortest| shortest.min(natural))
        };
        let sum = |shown: &[(usize, usize)], cells: &dyn Fn((usize, usize)) -> usize| {
            let cells: usize = shown.iter().map(|one| cells(*one)).sum();
            indent + cells + GAP * shown.len().saturating_sub(1)
        };
        let taken = |shown: &[(usize, usize)]| sum(shown, &shortest);
        let uncut = |shown: &[(usize, usize)]| {
            let image = |place: usize| self.columns[place] == Column::Image;
            sum(shown, &|one| if image(one.0) { shortest(one) } else { one.1 })
        };
        for dropped in EXTRA {
            if uncut(&shown) > terminal {
                shown.retain(|(place, _)| self.columns[*place] != dropped);
            }
        }
        for dropped in DROPPED {
            if taken(&shown) > terminal {
                shown.retain(|(place, _)| self.columns[*place] != dropped);
            }
        }
        let missing = taken(&shown).saturating_sub(terminal);
        let mut room = terminal.saturating_sub(taken(&shown));
        let natural = shown.clone();
        for one in &mut shown {
            one.1 = shortest(*one);
        }
        for column in WIDENED {
            let Some(nth) = natural.iter().position(|(place, _)| self.columns[*place] == column) else {
                continue;
            };
            let more = room.min(natural[nth].1 - shown[nth].1);
            shown[nth].1 += more;
            room -= more;
        }
        if let Some((_, name)) = shown.iter_mut().find(|(place, _)| self.columns[*place] == Column::Name) {
            *name = name.saturating_sub(missing).max(1);
        }
        shown
    }
}
