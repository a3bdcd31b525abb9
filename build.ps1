#!/usr/bin/env pwsh
<#
.SYNOPSIS
    build.ps1 VERB [arguments]    VERB: build, test, run, bench or pack

.DESCRIPTION
    A thin front to the dotnet command; whatever follows the verb is handed on.
      build   the solution, the emulator included (needs CMake and a C++ compiler; without them it says so and builds the rest)
      test    the managed tests, then the native ones
      run     the griffin command: ./build.ps1 run generate --prompt "It was a truth"
      bench   the benchmarks: ./build.ps1 bench --help
      pack    the NuGet package, into artifacts/packages

    -WithManagedCuda adds the provider over ManagedCuda to build, test, run and bench (the property -p:WithManagedCuda=true), and packs it. Its packages
    ManagedCuda-12, ManagedCuda-NVRTC and ManagedCuda-CUBLAS 12.8.60 must be on a feed of yours. They are licensed under GPLv3 or commercially: without a
    commercial licence, what you distribute with them is under GPLv3. A launch takes the host about twice the 25 ns of the default, and allocates nothing (README).
      ./build.ps1 run -WithManagedCuda doctor --provider managedcuda

    -WithTorchSharp builds the TorchSharp benchmarks, too, and makes bench run them (the property -p:WithTorchSharp=true). TorchSharp 0.107.0 must be on
    a feed of yours; libtorch comes with -TorchSharpLibrary: TorchSharp-cuda-linux (the default), TorchSharp-cuda-windows or TorchSharp-cpu.
    Continuous integration has no PowerShell: this script is parsed there, not run.
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [Parameter(Position = 0)]
    [ValidateSet('build', 'test', 'run', 'bench', 'pack')]
    [string] $Verb = 'build',

    [switch] $WithManagedCuda,

    [switch] $WithTorchSharp,

    [string] $TorchSharpLibrary = 'TorchSharp-cuda-linux',

    [Parameter(ValueFromRemainingArguments = $true)]
    [string[]] $Rest = @()
)

$ErrorActionPreference = 'Stop'
Set-Location -LiteralPath $PSScriptRoot

function Invoke-Tool([string] $Tool, [string[]] $Arguments) {
    & $Tool @Arguments
    if ($LASTEXITCODE -ne 0) {
        exit $LASTEXITCODE
    }
}

$Properties = @()
if ($WithManagedCuda) {
    $Properties += '-p:WithManagedCuda=true'
}
$Benchmarks = 'bench/Griffin.Bench'
if ($WithTorchSharp) {
    $Properties += @('-p:WithTorchSharp=true', "-p:TorchSharpLibrary=$TorchSharpLibrary")
    $Benchmarks = 'bench/Griffin.Bench.TorchSharp'
}

switch ($Verb) {
    'build' {
        Invoke-Tool 'dotnet' (@('build', '-c', 'Release', 'Griffin.Kernels.sln') + $Properties + $Rest)
        if ($WithTorchSharp) {
            Invoke-Tool 'dotnet' (@('build', '-c', 'Release', $Benchmarks) + $Properties + $Rest)
        }
    }
    'test' {
        Invoke-Tool 'dotnet' (@('test', '-c', 'Release', 'Griffin.Kernels.sln') + $Properties + $Rest)
        if (Test-Path -LiteralPath 'artifacts/native/build/CMakeCache.txt') {
            Invoke-Tool 'cmake' @('--build', 'artifacts/native/build', '--parallel')
            Invoke-Tool 'ctest' @('--test-dir', 'artifacts/native/build', '--output-on-failure')
        }
    }
    'run' {
        Invoke-Tool 'dotnet' (@('run', '-c', 'Release', '--project', 'managed/Griffin.Cli') + $Properties + @('--') + $Rest)
    }
    'bench' {
        Invoke-Tool 'dotnet' (@('run', '-c', 'Release', '--project', $Benchmarks) + $Properties + @('--') + $Rest)
    }
    'pack' {
        Invoke-Tool 'dotnet' (@('pack', '-c', 'Release', 'managed/Griffin.Kernels', '-o', 'artifacts/packages') + $Rest)
        if ($WithManagedCuda) {
            Invoke-Tool 'dotnet' (@('pack', '-c', 'Release', 'managed/Griffin.Kernels.ManagedCuda', '-o', 'artifacts/packages') + $Properties + $Rest)
        }
    }
}
