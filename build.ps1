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
    Continuous integration has no PowerShell: this script is parsed there, not run.
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [Parameter(Position = 0)]
    [ValidateSet('build', 'test', 'run', 'bench', 'pack')]
    [string] $Verb = 'build',

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

switch ($Verb) {
    'build' {
        Invoke-Tool 'dotnet' (@('build', '-c', 'Release', 'Griffin.Kernels.sln') + $Rest)
    }
    'test' {
        Invoke-Tool 'dotnet' (@('test', '-c', 'Release', 'Griffin.Kernels.sln') + $Rest)
        if (Test-Path -LiteralPath 'artifacts/native/build/CMakeCache.txt') {
            Invoke-Tool 'cmake' @('--build', 'artifacts/native/build', '--parallel')
            Invoke-Tool 'ctest' @('--test-dir', 'artifacts/native/build', '--output-on-failure')
        }
    }
    'run' {
        Invoke-Tool 'dotnet' (@('run', '-c', 'Release', '--project', 'managed/Griffin.Cli', '--') + $Rest)
    }
    'bench' {
        Invoke-Tool 'dotnet' (@('run', '-c', 'Release', '--project', 'bench/Griffin.Bench', '--') + $Rest)
    }
    'pack' {
        Invoke-Tool 'dotnet' (@('pack', '-c', 'Release', 'managed/Griffin.Kernels', '-o', 'artifacts/packages') + $Rest)
    }
}
