//! The load generator of Helenus. Its commands come with their own issue; until then it says so and fails.

fn main() -> std::process::ExitCode {
    eprintln!("helenus-bench: not yet");
    std::process::ExitCode::FAILURE
}
