#!/bin/sh
echo "Hello from a verified plugin."
