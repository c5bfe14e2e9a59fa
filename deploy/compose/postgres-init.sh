#!/bin/sh
# Runs once, on an empty data folder: the cloud's own role, which is no superuser, and its database.
set -eu
psql --set=ON_ERROR_STOP=1 --username=postgres --set=password="$(cat /etc/tidegate/tidegate.password)" <<'SQL'
create role tidegate login password :'password';
create database tidegate owner tidegate;
SQL
