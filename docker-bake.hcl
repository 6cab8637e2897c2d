// `docker buildx bake` builds the image for this machine, `docker buildx bake release` for every platform: docs/how-to/run-in-containers.md.
variable "REGISTRY" { default = "" }
variable "VERSION" { default = "local" }
variable "REVISION" { default = "" }
// name it by its digest for a build that can be repeated: python:3.13-slim@sha256:...
variable "BASE" { default = "python:3.13-slim" }

function "name" {
  params = [tag]
  result = "${REGISTRY == "" ? "" : "${REGISTRY}/"}edgerouter:${tag}"
}

group "default" { targets = ["all"] }
group "release" { targets = ["clouds", "armv7"] }

target "base" {
  context    = "."
  dockerfile = "Containerfile"
  args       = { BASE = BASE, REVISION = REVISION }
}

target "all" {
  inherits = ["base"]
  args     = { EXTRAS = "all" }
  tags     = [name(trimprefix(VERSION, "v"))]
}

// one image for each set of extras; `none` has the built-in sinks only
target "clouds" {
  name     = "release-${extras}"
  matrix   = { extras = ["all", "aws", "azure", "gcp", "none"] }
  inherits = ["base"]
  args     = { EXTRAS = extras == "none" ? "" : extras }
  tags     = [name(extras == "all" ? trimprefix(VERSION, "v") : "${trimprefix(VERSION, "v")}-${extras}")]
  platforms = ["linux/amd64", "linux/arm64"]
  attest   = ["type=sbom", "type=provenance,mode=max"]
}

// 32-bit ARM compiles what has no wheel
target "armv7" {
  inherits  = ["base"]
  args      = { EXTRAS = "", BUILD_PACKAGES = "gcc g++ make libffi-dev libssl-dev pkg-config cargo" }
  tags      = [name("${trimprefix(VERSION, "v")}-armv7")]
  platforms = ["linux/arm/v7"]
  attest    = ["type=sbom", "type=provenance,mode=max"]
}
