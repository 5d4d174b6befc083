//! `docs/configuration.md`, from the table.

use super::environment::OUR_PREFIXES;
use super::settings::{SECTIONS, Section, Setting};

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the table in src/config/settings.rs: UPDATE_DOCS=1 cargo test --lib config:: -->

Every setting has a name in the environment and a place in a TOML file. Each source wins over the one before:

1. the defaults below;
2. the TOML file: the one `--config` names, else the one `XRAY_CONFIG` names, else `xray.toml` in the working directory
   if it is there;
3. the environment;
4. flags of the command line.

`xray-processor-worker config` shows what is in force and where each value came from, without secrets.

```toml
[clickhouse]
host = \"https://clickhouse.example.com:8443\"
password = \"12345\"

[s3.minio]
endpoint = \"minio\"

[queue]
batch_size = 100
```

- **Problems** are reported all at once, by the name you typed, and end the command with exit code 2: a wrong value, an
  unknown key in the file, a file that is named and cannot be read.
- **Unknown variables** that start with one of {prefixes} are a warning. Those that
  Kubernetes makes of a Service (`MINIO_SERVICE_HOST`, `CLICKHOUSE_PORT_8123_TCP`) are passed over in silence. Where it
  sets one of the names below (`CLICKHOUSE_PORT=tcp://10.0.0.1:8123`), set that variable yourself, or
  `enableServiceLinks: false` in the pod's spec.
- **Empty variables** count as not set, except `CLICKHOUSE_PASSWORD`, where empty is a password. In the file and on the
  command line an empty value is an error.
- **Text** is taken to the letter: a password made of digits is text. In the file it must be in quotes, as TOML has
  already respelled a number.
- **Sizes** are bytes (`10485760`) or a whole number with a unit: `KiB`, `MiB`, `GiB` count in 1024s, `KB`, `MB`, `GB` in
  1000s. In the file a size with a unit is in quotes.
- **Yes or no** is `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case; in the file also TOML's own `true` and
  `false`.
- **Secrets** are never shown. Each can come from a file: `CLICKHOUSE_PASSWORD_FILE=/run/secrets/password`, and so for
  every setting marked *secret*. One newline at the end of the file is cut. Setting both forms is an error.
";

/// The reference of all settings in Markdown.
pub fn reference_markdown() -> String {
    let prefixes = OUR_PREFIXES.iter().map(|prefix| format!("`{prefix}`")).collect::<Vec<_>>().join(", ");
    let introduction = INTRODUCTION.replace("{prefixes}", &prefixes);
    let sections = SECTIONS.iter().map(section);
    [introduction].into_iter().chain(sections).collect::<Vec<_>>().join("\n")
}

fn section(section: &Section) -> String {
    let mut text = format!("## {}\n\n", section.title);
    if !section.doc.is_empty() {
        text.push_str(&format!("{}\n\n", section.doc));
    }
    text.push_str("| variable | in the file | default | allowed | |\n|---|---|---|---|---|\n");
    section.settings.iter().map(row).for_each(|row| text.push_str(&row));
    text
}

fn row(setting: &Setting) -> String {
    let place = match setting.path.rsplit_once('.') {
        Some((table, key)) => format!("`[{table}] {key}`"),
        None => format!("`{}`", setting.path),
    };
    let default = match setting.default {
        None => "–".to_owned(),
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let secret = if setting.is_secret() { ", *secret*" } else { "" };
    format!("| `{}` | {place} | {default} | {}{secret} | {} |\n", setting.env, setting.kind.allowed(), setting.doc)
}
