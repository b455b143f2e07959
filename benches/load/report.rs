//! What was measured: a table, a plot, JSON, and how it compares with the last run.

use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;
use serde_json::{Value, json};

use super::Options;
use super::data::Loaded;
use super::rig::Server;

/// One kind of request over so many connections.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub engine: String,
    pub operation: String,
    pub connections: usize,
    /// Requests a second.
    pub rate: f64,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// Milliseconds of processor time a request: the server's, PostgreSQL's.
    pub cpu: f64,
    pub database_cpu: f64,
    /// Answered 503.
    pub refused: u64,
}

pub struct Report {
    rows: Vec<Row>,
    servers: Vec<Value>,
    last: Option<Value>,
}

const FILE: &str = "load.json";

impl Report {
    pub fn new(options: &Options) -> Self {
        let last = std::fs::read_to_string(options.output.join(FILE)).ok();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "server, database and load on the same {cores} cores; runs of {} s; all checks on, mutual TLS",
            options.seconds
        );
        Self {
            rows: Vec::new(),
            servers: Vec::new(),
            last: last.and_then(|text| serde_json::from_str(&text).ok()),
        }
    }

    pub fn loaded(&mut self, engine: &str, server: &Server, started: Duration, loaded: &Loaded) {
        let (records, documents) = (loaded.records, loaded.documents);
        println!(
            "\n{engine}: {records} records of {documents} documents; fed {:.0} a second; {:.1} KiB each on the disk; {} MiB of memory",
            loaded.rate,
            loaded.bytes_per_document / 1024.0,
            server.memory_mib()
        );
        println!(
            "{:<18} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}  against the last run",
            "operation", "conn.", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU ms", "PG CPU", "503"
        );
        self.servers.push(json!({
            "engine": engine, "records": records, "documents": documents, "fedPerSecond": loaded.rate,
            "bytesPerDocument": loaded.bytes_per_document, "startedInSeconds": started.as_secs_f64(),
        }));
    }

    pub fn row(&mut self, row: Row) {
        let before = self.before(&row);
        let than =
            before.map_or(String::new(), |before| format!("  CPU {:+.0} %", (row.cpu / before - 1.0) * 100.0));
        println!(
            "{:<18} {:>5} {:>9.0} {:>9.2} {:>9.2} {:>9.2} {:>9.3} {:>9.3} {:>7}{than}",
            row.operation,
            row.connections,
            row.rate,
            row.p50,
            row.p99,
            row.p999,
            row.cpu,
            row.database_cpu,
            row.refused
        );
        self.rows.push(row);
    }

    pub fn ended(&mut self, engine: &str, server: &Server) {
        println!("{engine}: {} MiB of memory at the end", server.memory_mib());
        if let Some(last) = self.servers.last_mut() {
            last["memoryMiB"] = json!(server.memory_mib());
        }
    }

    /// Processor time of the same row in the last run.
    fn before(&self, row: &Row) -> Option<f64> {
        let rows = self.last.as_ref()?.get("rows")?.as_array()?;
        let same = |other: &&Value| {
            other["engine"] == row.engine.as_str()
                && other["operation"] == row.operation.as_str()
                && other["connections"] == row.connections
        };
        rows.iter().find(same)?["cpuMs"].as_f64().filter(|cpu| *cpu > 0.0)
    }

    pub fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("the folder of results");
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "engine": row.engine, "operation": row.operation, "connections": row.connections, "perSecond": row.rate,
                    "p50Ms": row.p50, "p99Ms": row.p99, "p999Ms": row.p999, "cpuMs": row.cpu, "postgresCpuMs": row.database_cpu,
                    "refused": row.refused,
                })
            })
            .collect();
        let text =
            serde_json::to_string_pretty(&json!({ "servers": self.servers, "rows": rows })).expect("JSON");
        std::fs::write(folder.join(FILE), text).expect("the results are written");
        self.plot(&folder.join("load.svg")).expect("the plot is drawn");
        println!("\n{} and load.svg", folder.join(FILE).display());
    }

    /// Each operation's 99th percentile and rate over the connections, an engine a colour.
    fn plot(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut operations: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !operations.contains(&row.operation.as_str()) {
                operations.push(&row.operation);
            }
        }
        let root = SVGBackend::new(path, (1100, 260 * operations.len().max(1) as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, operation) in root.split_evenly((operations.len().max(1), 1)).iter().zip(&operations) {
            let (left, right) = area.split_horizontally(550);
            self.chart(&left, operation, "requests/s", |row| row.rate)?;
            self.chart(&right, operation, "p99, ms", |row| row.p99)?;
        }
        root.present()?;
        Ok(())
    }

    fn chart(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        operation: &str,
        what: &str,
        value: impl Fn(&Row) -> f64,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.operation == operation).collect();
        let most = rows.iter().map(|row| value(row)).fold(0.0, f64::max).max(0.001) * 1.1;
        let widest = rows.iter().map(|row| row.connections).max().unwrap_or(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{operation}: {what}"), ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d((1.0..widest.max(2.0)).log_scale(), 0.0..most)?;
        chart.configure_mesh().x_desc("connections").draw()?;
        for (engine, colour) in [("sqlite", BLUE), ("postgres", RED)] {
            let line =
                rows.iter().filter(|row| row.engine == engine).map(|row| (row.connections as f64, value(row)));
            chart
                .draw_series(LineSeries::new(line, colour))?
                .label(engine)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
        Ok(())
    }
}
