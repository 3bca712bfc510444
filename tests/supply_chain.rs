//! Actions and base images are pinned by what cannot be moved to other content.

use std::fs;
use std::path::Path;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn pins_every_action_by_its_commit() {
    let mut pinned = 0;
    for workflow in fs::read_dir(repository().join(".github/workflows")).unwrap() {
        let text = fs::read_to_string(workflow.unwrap().path()).unwrap();
        let uses = text.lines().filter_map(|line| line.split_once("uses: "));
        for (_, action) in uses.filter(|(_, action)| !action.starts_with("./")) {
            let (_, reference) = action.split_once('@').unwrap();
            let (commit, version) = reference.split_once("  # v").unwrap_or_default();
            assert!(is_hex(commit, 40) && !version.is_empty(), "{action}");
            pinned += 1;
        }
    }
    assert!(pinned > 0);
}

#[test]
fn pins_every_base_image_by_its_digest() {
    let text = fs::read_to_string(repository().join("Dockerfile")).unwrap();
    let images = text.lines().filter_map(|line| line.strip_prefix("FROM "));
    let mut pinned = 0;
    for image in images.filter(|image| image.contains('/')) {
        let (_, digest) = image.split_once("@sha256:").unwrap_or_default();
        let digest = digest.split(' ').next().unwrap();
        assert!(is_hex(digest, 64), "{image}");
        pinned += 1;
    }
    assert!(pinned > 0);
}
