//! The phrases, and what to write instead.

/// A phrase that is not used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phrase {
    /// Its spellings, of whole words in lower case. The last word of one that ends with `*` may go on.
    pub(super) spellings: &'static [&'static str],
    /// What to write instead.
    pub(super) instead: &'static str,
}

/// Files with one of these in their path are not checked.
pub(super) const EXCLUDED: [&str; 5] =
    ["/generated/", "CHANGELOG.md", "LICENSE", "NOTICE", "xtask/src/commands/words"];

/// Phrases that stay in a file, as names that other programs gave: the path's end, and the phrase in lower case.
pub(super) const ALLOWED: [(&str, &str); 2] = [
    // The user of that name.
    ("engines/test_image.rs", "nobody"),
    ("moby/tests/wire/connecting.rs", "nobody"),
];

/// What is looked for.
pub(super) const PHRASES: [Phrase; 22] = [
    Phrase {
        spellings: &["tell", "tells", "told", "telling"],
        instead: "report, return, list, contain, emit or distinguish",
    },
    Phrase { spellings: &["untold"], instead: "unlisted or not reported" },
    Phrase {
        spellings: &["who", "whom", "whoever", "whomever"],
        instead: "which, or name the thing (the caller, the client)",
    },
    Phrase {
        spellings: &["hear", "hears", "heard", "hearing", "hearsay"],
        instead: "receive, or name the message",
    },
    Phrase { spellings: &["nobody", "somebody"], instead: "no client, no caller, nothing" },
    Phrase {
        spellings: &["pass over", "passes over", "passed over", "passing over"],
        instead: "skip or ignore",
    },
    Phrase {
        spellings: &["keep silent", "keeps silent", "hang up", "hangs up", "hung up"],
        instead: "stall or close",
    },
    Phrase { spellings: &["anew"], instead: "again or new" },
    Phrase { spellings: &["in vain"], instead: "without success, or what failed" },
    Phrase { spellings: &["of late"], instead: "recently" },
    Phrase { spellings: &["nor is", "nor are"], instead: "and is not" },
    Phrase { spellings: &["be it"], instead: "whether or also if" },
    Phrase { spellings: &["sighting", "sightings"], instead: "listing entry" },
    Phrase { spellings: &["glimpse*"], instead: "preview" },
    Phrase { spellings: &["divergence", "divergences"], instead: "drift" },
    Phrase { spellings: &["garble", "garbled", "garbles", "garbling"], instead: "malformed or corrupt" },
    Phrase { spellings: &["suspicion", "suspicions"], instead: "mismatch" },
    Phrase { spellings: &["fare", "fares", "fared"], instead: "status, or what happens to it" },
    Phrase { spellings: &["acquaint*"], instead: "handshake, negotiate or identify" },
    Phrase { spellings: &["without a word", "a word of"], instead: "without an answer" },
    Phrase { spellings: &["mend", "mends", "mended", "mending"], instead: "repair or resync" },
    Phrase { spellings: &["owed", "owes"], instead: "pending or due" },
];
