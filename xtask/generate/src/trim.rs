//! Drops unused definitions from a descriptor set, so that the generated code stays small.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};

/// The field numbers of `FileDescriptorProto` and `ServiceDescriptorProto` that paths of source locations start with.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const METHODS: i32 = 2;

/// Keeps the calls `package.Service.Method`, the messages `package.Message`, and every type that these need.
///
/// # Errors
///
/// If the set has no such call or message.
pub(crate) fn trim(set: &mut FileDescriptorSet, calls: &[&str], messages: &[&str]) -> Result<()> {
    let needed = needed_types(set, calls, messages)?;
    for file in &mut set.file {
        trim_file(file, calls, &needed);
    }
    set.file.retain(|file| {
        !file.message_type.is_empty() || !file.enum_type.is_empty() || !file.service.is_empty()
    });
    Ok(())
}

/// The full names, each after a dot, of all top-level types that are needed.
fn needed_types(set: &FileDescriptorSet, calls: &[&str], messages: &[&str]) -> Result<BTreeSet<String>> {
    let (mut types, mut methods) = (BTreeMap::new(), BTreeMap::new());
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            let mut references = BTreeSet::new();
            add_references(message, &mut references);
            types.insert(format!(".{package}.{}", message.name()), references);
        }
        for one in &file.enum_type {
            types.insert(format!(".{package}.{}", one.name()), BTreeSet::new());
        }
        for service in &file.service {
            for method in &service.method {
                let name = call_name(package, service, method.name());
                methods.insert(name, [method.input_type(), method.output_type()]);
            }
        }
    }
    let mut pending: Vec<String> = messages.iter().map(|name| format!(".{name}")).collect();
    for call in calls {
        match methods.get(*call) {
            Some(types) => pending.extend(types.map(str::to_owned)),
            None => bail!("the definitions have no call {call}"),
        }
    }
    let mut needed = BTreeSet::new();
    while let Some(name) = pending.pop() {
        let Some((top, references)) = top_level(&types, &name) else {
            bail!("the definitions have no type {name}");
        };
        if needed.insert(top.clone()) {
            pending.extend(references.iter().cloned());
        }
    }
    Ok(needed)
}

/// A type, or the one that it is nested in.
fn top_level<'a, T>(types: &'a BTreeMap<String, T>, name: &str) -> Option<(&'a String, &'a T)> {
    types.get_key_value(name).or_else(|| top_level(types, name.rsplit_once('.')?.0))
}

fn add_references(message: &DescriptorProto, references: &mut BTreeSet<String>) {
    let fields = message.field.iter().filter(|field| field.type_name.is_some());
    references.extend(fields.map(|field| field.type_name().to_owned()));
    for nested in &message.nested_type {
        add_references(nested, references);
    }
}

fn call_name(package: &str, service: &ServiceDescriptorProto, method: &str) -> String {
    format!("{package}.{}.{method}", service.name())
}

fn trim_file(file: &mut FileDescriptorProto, calls: &[&str], needed: &BTreeSet<String>) {
    let package = file.package().to_owned();
    let is_needed = |name: &str| needed.contains(&format!(".{package}.{name}"));
    let messages = retain(&mut file.message_type, |message| is_needed(message.name()));
    let enums = retain(&mut file.enum_type, |one| is_needed(one.name()));
    let mut methods = Vec::new();
    for service in &mut file.service {
        let names: Vec<String> =
            service.method.iter().map(|method| call_name(&package, service, method.name())).collect();
        let mut names = names.iter();
        methods.push(retain(&mut service.method, |_| {
            names.next().is_some_and(|name| calls.contains(&name.as_str()))
        }));
    }
    let services = retain(&mut file.service, |service| !service.method.is_empty());

    // Comments are found by the indices of what they belong to.
    let Some(info) = &mut file.source_code_info else { return };
    info.location.retain_mut(|location| {
        let path = &mut location.path;
        match path.as_mut_slice() {
            [MESSAGES, index, ..] => renumber(index, &messages),
            [ENUMS, index, ..] => renumber(index, &enums),
            [SERVICES, service, rest @ ..] => {
                if let [METHODS, method, ..] = rest
                    && !usize::try_from(*service).is_ok_and(|service| renumber(method, &methods[service]))
                {
                    return false;
                }
                renumber(service, &services)
            }
            _ => true,
        }
    });
}

/// Keeps what is wanted, and returns the new index of each former element that is still there.
fn retain<T>(elements: &mut Vec<T>, mut wanted: impl FnMut(&T) -> bool) -> Vec<Option<i32>> {
    let mut indices = Vec::with_capacity(elements.len());
    let mut next = 0;
    elements.retain(|element| {
        let keep = wanted(element);
        indices.push(keep.then_some(next));
        next += i32::from(keep);
        keep
    });
    indices
}

fn renumber(index: &mut i32, indices: &[Option<i32>]) -> bool {
    let new = usize::try_from(*index).ok().and_then(|index| *indices.get(index)?);
    if let Some(new) = new {
        *index = new;
    }
    new.is_some()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DEFINITIONS: &str = r#"
        syntax = "proto3";
        package sea;
        // Of no use.
        message Idle { Nothing nothing = 1; }
        // Nothing.
        message Nothing {}
        // A question.
        message Question { repeated Part.Piece pieces = 1; }
        // An answer.
        message Answer { map<string, Colour> colours = 1; }
        // A part.
        message Part { message Piece { Deep deep = 1; } }
        // Deep.
        message Deep {}
        // An event.
        message Event {}
        // A shape.
        enum Shape { ROUND = 0; }
        // A colour.
        enum Colour { BLUE = 0; }
        // Unused.
        service Unused { rpc Do(Idle) returns (Idle); }
        // Used.
        service Used {
            // Does nothing.
            rpc Nothing(Nothing) returns (Nothing);
            // Asks.
            rpc Ask(Question) returns (Answer);
        }
    "#;

    fn trimmed(calls: &[&str], messages: &[&str]) -> Result<FileDescriptorSet> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("sea.proto"), DEFINITIONS)?;
        let mut compiler = protox::Compiler::new([folder.path()])?;
        compiler.include_source_info(true).open_files(["sea.proto"])?;
        let mut set = compiler.file_descriptor_set();
        trim(&mut set, calls, messages).map(|()| set)
    }

    /// What the comment before an element says.
    fn comment<'a>(file: &'a FileDescriptorProto, path: &[i32]) -> &'a str {
        let locations = &file.source_code_info.as_ref().unwrap().location;
        let mut found = locations.iter().filter(|location| location.path == path);
        let comment = found.next().unwrap().leading_comments().trim();
        assert!(found.next().is_none(), "{path:?} has two locations");
        comment
    }

    #[test]
    fn what_is_used_is_kept_with_its_own_comments() {
        let set = trimmed(&["sea.Used.Ask"], &["sea.Event"]).unwrap();
        let file = &set.file[0];
        let messages: Vec<_> = file.message_type.iter().map(DescriptorProto::name).collect();
        assert_eq!(messages, ["Question", "Answer", "Part", "Deep", "Event"]);
        let comments: Vec<_> = (0..5).map(|index| comment(file, &[MESSAGES, index])).collect();
        assert_eq!(comments, ["A question.", "An answer.", "A part.", "Deep.", "An event."]);
        assert_eq!((file.enum_type.len(), file.enum_type[0].name()), (1, "Colour"));
        assert_eq!(comment(file, &[ENUMS, 0]), "A colour.");
        assert_eq!((file.service.len(), file.service[0].name()), (1, "Used"));
        assert_eq!(comment(file, &[SERVICES, 0]), "Used.");
        assert_eq!((file.service[0].method.len(), file.service[0].method[0].name()), (1, "Ask"));
        assert_eq!(comment(file, &[SERVICES, 0, METHODS, 0]), "Asks.");
    }

    #[test]
    fn files_of_which_nothing_is_used_are_dropped() {
        assert!(trimmed(&[], &[]).unwrap().file.is_empty());
    }

    #[test]
    fn what_the_definitions_do_not_have_is_refused() {
        let refused = |calls: &[&str], messages: &[&str]| trimmed(calls, messages).unwrap_err().to_string();
        assert_eq!(refused(&["sea.Used.Hail"], &[]), "the definitions have no call sea.Used.Hail");
        assert_eq!(refused(&[], &["sea.Wave"]), "the definitions have no type .sea.Wave");
    }
}
