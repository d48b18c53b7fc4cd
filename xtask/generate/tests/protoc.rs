//! The stand-in for protoc gives prost-build what protoc would.

use std::fs;

/// As the build script of containerd-client calls it.
#[test]
fn builds_get_code_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("whale.proto");
    let text = "syntax = \"proto3\";\npackage whale;\nimport \"google/protobuf/any.proto\";\n\
                // Sings.\nmessage Song { optional google.protobuf.Any verse = 1; }\n";
    fs::write(&definition, text).unwrap();
    let mut config = prost_build::Config::new();
    config
        .protoc_executable(env!("CARGO_BIN_EXE_protoc"))
        .protoc_arg("--experimental_allow_proto3_optional")
        .out_dir(folder.path())
        .compile_protos(&[&definition], &[folder.path()])
        .unwrap();
    let code = fs::read_to_string(folder.path().join("whale.rs")).unwrap();
    assert!(code.contains("/// Sings.\n") && code.contains("Option<::prost_types::Any>"), "{code}");
}

#[test]
fn what_cannot_be_compiled_fails_the_build_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("whale.proto");
    fs::write(&definition, "syntax = \"proto3\";\nmessage Song { Verse verse = 1; }\n").unwrap();
    let mut config = prost_build::Config::new();
    config.protoc_executable(env!("CARGO_BIN_EXE_protoc")).out_dir(folder.path());
    let error = config.compile_protos(&[&definition], &[folder.path()]).unwrap_err().to_string();
    assert!(error.contains("Verse"), "{error}");
}
