//! What a request selects: the filters of the command line, by their names there.

use crate::args::FilterArgs;
use crate::selection::Selection;

/// The keys of a query.
const KEYS: &str = "name, filter, project, pod, label and engine";

#[derive(Debug, Default)]
pub(super) struct Query {
    names: Vec<String>,
    filters: FilterArgs,
}

impl Query {
    /// Reads the part of a URL after the question mark.
    ///
    /// # Errors
    ///
    /// If there is another key than these.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let FilterArgs { filters, projects, pods, labels, engines } = &mut query.filters;
            let values = match &*key {
                "name" => &mut query.names,
                "filter" => filters,
                "project" => projects,
                "pod" => pods,
                "label" => labels,
                "engine" => engines,
                _ => {
                    let key = whalewatcher_core::Printable(&key).to_string();
                    return Err(format!("'{key}' is not known: there are {KEYS}"));
                }
            };
            values.push(value.into_owned());
        }
        Ok(query)
    }

    /// # Errors
    ///
    /// If one of the values is invalid.
    pub(super) fn selection(&self) -> Result<Selection, String> {
        let named = |reason: String| reason.trim_start_matches("--").to_owned();
        Selection::read(&self.names, &self.filters).map_err(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_command_line_and_can_be_repeated() {
        let query = Query::parse(
            "name=web-%2A&label=a%3Db&label=c&project=&pod=x&engine=docker&filter=status%3Drunning",
        )
        .unwrap();
        assert_eq!(
            (&*query.names, &*query.filters.labels),
            (&["web-*".to_owned()][..], &["a=b".to_owned(), "c".to_owned()][..])
        );
        assert_eq!(query.filters.projects, [""]);
        assert!(query.selection().is_ok());
        assert!(Query::parse("").unwrap().selection().unwrap().is_all());
        assert!(Query::parse("names=web").unwrap_err().starts_with("'names' is not known: there are name, "));
        let error = Query::parse("filter=size%3D1").unwrap().selection().unwrap_err();
        assert!(error.starts_with("filter size=1: "), "{error}");
    }
}
