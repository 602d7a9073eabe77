//! The size of the screen, and what the page wrote to the console.

use super::Browser;
use serde_json::{Value, json};

impl Browser {
    /// Gives the page a screen of this size. A window cannot be as narrow as a phone.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let parameters = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &parameters);
        self.wait_for(&format!("innerWidth === {width}"));
    }

    /// The errors in the console since the last call, refused requests included.
    #[track_caller]
    pub fn console_errors(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["level"] == "SEVERE")
            .map(Value::to_string)
            .collect()
    }
}
